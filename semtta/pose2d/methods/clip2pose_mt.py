"""A mean teacher with CLIP2Pose's parts: does text, gate or alignment add anything to a teacher?

Teacher, views, style and covered joints are UniFrame's, prompts, gate, alignment and adversary
CLIP2Pose's; student and teacher are whole CLIP2Pose models, of which the teacher is kept. Nobody's
paper: the settings ``clip2pose.*`` switch its parts off one by one.
"""

from __future__ import annotations

from torch import Tensor

from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.methods.clip2pose import Clip2PoseMethod, make_clip2pose
from semtta.pose2d.methods.uniframe import UniFrame
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains


class Clip2PoseTeacher(UniFrame):
    """UniFrame's step, whose student is described and judged as CLIP2Pose's model is."""

    student: Clip2Pose

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        super().__init__(make_clip2pose(estimator, config), config)
        self.paper = Clip2PoseMethod(self.student, config)
        self.optimizers = self.paper.optimizers

    def losses(
        self, domains: Domains, source: Tensor, target: Tensor, wanted: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        first, second = self.student.describe_each(source, target)
        losses = self.paper.losses(domains, first, second)
        self.gauges |= self.paper.gauges
        consistent = squared_error(second.maps, wanted, weight, self.config.loss)
        return losses | {"consistency": self.config.uniframe.weight * consistent}
