"""Action names and other ways to say them: the vocabulary that the motion priors learn."""

from __future__ import annotations

# Canonical name -> further phrases. The names are the labels of the shipped dictionary.
PHRASES: dict[str, tuple[str, ...]] = {
    "walk": ("walking", "a person walks", "walk forward", "walking forward", "take a stroll",
             "walk on uneven terrain"),
    "walk slowly": ("slow walk", "walking slowly", "stroll slowly"),
    "walk fast": ("brisk walk", "walking fast", "walk quickly"),
    "run": ("running", "jog", "jogging", "a person runs", "sprint"),
    "walk backwards": ("walking backwards", "step backwards", "move backwards"),
    "walk sideways": ("side step", "walking sideways", "step to the side"),
    "walk upstairs": ("climb stairs", "climbing stairs", "walking up the stairs", "go up steps"),
    "walk downstairs": ("walking down the stairs", "descend stairs", "go down steps"),
    "march in place": ("marching on the spot", "march", "marching"),
    "sneak": ("sneaking", "creep quietly", "tiptoe stealthily"),
    "walk crouched with knees bent": ("crouched walk", "walking while crouching"),
    "walk on a balance beam": ("balance on a beam", "balancing on a beam",
                               "walking along a balance beam", "balance beam"),
    "zombie walk": ("walk like a zombie", "zombie"),
    "stumble": ("stumbling", "trip and stumble", "get hit and stumble"),
    "climb": ("climbing", "climb up", "climb a ladder"),
    "jump": ("jumping", "jump up", "a person jumps", "jump forward", "leap"),
    "hop on one foot": ("hop", "hopping", "hop on one leg"),
    "jumping jacks": ("do jumping jacks", "star jumps"),
    "stand still": ("stand", "standing", "standing still", "idle", "a person stands"),
    "stand with knees bent": ("standing with knees bent", "crouch", "stand with bent knees"),
    "stand in a fighting stance": ("fighting stance", "guard stance", "ready to fight"),
    "balance on one leg": ("stand on one leg", "standing on one foot", "balancing on one leg"),
    "sit on a chair": ("sit", "sitting", "sitting on a chair", "a person is sitting", "seated"),
    "sit with feet crossed": ("sitting with feet crossed", "sit with crossed legs on a chair",
                              "sit with ankles crossed"),
    "sit cross-legged on the floor": ("sitting cross-legged", "meditate sitting"),
    "sit on the floor": ("sitting on the floor", "sit on the ground"),
    "sit down": ("sitting down", "take a seat", "sit down on a chair"),
    "sit down on the floor": ("sitting down on the ground",),
    "stand up from sitting": ("stand up", "standing up", "get up from a chair", "rise from a seat"),
    "get up from the floor": ("get up", "getting up from the ground"),
    "squat": ("squatting", "do squats", "squat down"),
    "bend down": ("bend over", "bending down", "lean forward and down", "bending over"),
    "pick up an object": ("pick up object", "picking something up",
                          "lift something from the ground",
                          "pick something up from the floor"),
    "bow": ("bowing", "take a bow"),
    "throw something with the right hand": ("throw with the right hand", "throwing with right hand",
                                            "throw", "throwing"),
    "throw something with the left hand": ("throw with the left hand", "throwing with left hand"),
    "throw something with the right hand and walking": ("throw while walking",
                                                        "walking and throwing with the right hand"),
    "throw something with the left hand and walking": ("walking and throwing with the left hand",),
    "kick": ("kicking", "a person kicks"),
    "kick with the right leg": ("right leg kick", "kick with the right foot"),
    "kick with the left leg": ("left leg kick", "kick with the left foot"),
    "kick a soccer ball": ("soccer", "kick a ball", "play soccer", "kicking a football"),
    "punch": ("punching", "punch and strike", "strike with the fist"),
    "boxing": ("box", "boxer", "throw boxing punches"),
    "martial arts kata": ("martial arts", "karate", "kung fu"),
    "sword fight": ("swordplay", "strike with a sword", "attack with a weapon"),
    "block with a shield": ("blocking with a shield", "hold up a shield"),
    "shoot a gun": ("aim and shoot a gun", "shooting", "aim a rifle"),
    "shoot with a bow": ("archery", "draw a bow and arrow"),
    "dodge": ("dodging", "evade", "dodge to the side"),
    "wave with the right hand": ("wave", "waving", "waving with the right hand"),
    "wave with the left hand": ("waving with the left hand",),
    "wave with both hands": ("wave both arms", "waving with both hands"),
    "raise both arms": ("raise arms", "raising both arms", "lift the arms up"),
    "cheer with arms raised": ("cheer", "cheering", "celebrate"),
    "hold arms out to the sides": ("arms out to the sides", "spread the arms", "t pose"),
    "clap": ("clapping", "clap hands", "applaud"),
    "point": ("pointing", "point at something"),
    "hands on hips": ("stand with hands on hips",),
    "cross arms": ("arms crossed", "crossing arms", "fold arms"),
    "direct traffic": ("directing traffic", "give traffic signals"),
    "give basketball referee signals": ("basketball signals", "referee signals"),
    "dribble a basketball": ("basketball", "play basketball", "dribbling", "dribble and shoot"),
    "drink": ("drinking", "drink from a cup"),
    "talk on the phone": ("phone call", "talking on the phone", "hold a phone to the ear"),
    "wash a window": ("wash windows", "washing a window", "cleaning windows", "wipe a window"),
    "wash oneself": ("wash self", "washing oneself", "shower"),
    "look around": ("looking around",),
    "stretch": ("stretching", "stretch the body"),
    "kneel": ("kneeling", "kneel down", "on one knee"),
    "lie down": ("lying down", "lie on the ground", "lying"),
    "crawl": ("crawling", "crawl on hands and knees"),
    "fall down": ("falling", "fall to the ground"),
    "do push-ups": ("push up", "push-ups"),
    "do sit-ups": ("sit-ups", "crunches"),
    "turn around": ("turning around", "turn"),
    "spin": ("spinning", "spin around", "twirl"),
    "salsa dance": ("salsa", "dancing salsa"),
    "indian dance": ("indian dancing", "classical indian dance"),
    "ballet dance": ("ballet", "dance ballet", "pirouette"),
}  # fmt: skip

# Names that one and the same motion may rightly carry: no penalty for confusing them in
# training, and either counts as found in retrieval.
SYNONYMS: tuple[frozenset[str], ...] = tuple(
    frozenset(group)
    for group in (
        {"walk", "walk slowly", "walk fast"},
        {"kick", "kick with the right leg", "kick with the left leg", "kick a soccer ball"},
        {"punch", "boxing"},
        {"raise both arms", "cheer with arms raised"},
        {"bend down", "pick up an object"},
        {"sneak", "walk crouched with knees bent"},
        {"sit down", "sit down on the floor"},
    )
)


def phrases(name: str) -> list[str]:
    """The name itself and the other ways to say it."""
    return [name, *PHRASES.get(name, ())]


def canonical(text: str) -> str | None:
    """The name that a text is a phrase of, if it is one."""
    return next((name for name, group in PHRASES.items() if text == name or text in group), None)


def synonyms(name: str) -> frozenset[str]:
    """The name and every name that the same motion may carry."""
    return frozenset({name}).union(*(group for group in SYNONYMS if name in group))
