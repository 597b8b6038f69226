"""Small changes of Python code: what can be changed in a module and the module with one change."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

SWAPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
OPPOSITE = {"min": "max", "any": "all", "amin": "amax", "minimum": "maximum", "floor": "ceil",
            "argmin": "argmax", "cos": "sin", "nanmin": "nanmax"}  # fmt: skip
OPPOSITE |= {value: key for key, value in OPPOSITE.items()}
# Calls that speak to people, and functions whose result people read.
SPEAKING = {"warn", "announce", "log", "print", "warning", "info", "debug"}
UNSEEN = {"__repr__", "__dir__"}
# Arguments in either order mean the same, or what follows is the order of the language.
EITHER_WAY = {"isinstance", "issubclass", "getattr", "hasattr", "setattr", "range", "zip", "min",
              "max", "minimum", "maximum", "allclose", "equal", "cast", "super",
              "transpose"}  # fmt: skip


Located = ast.stmt | ast.expr


@dataclass(frozen=True)
class Mutant:
    """One change of a module; ``before`` and ``after`` are the smallest code around it."""

    module: str
    line: int
    operator: str
    before: str
    after: str
    nth: int  # of several such changes on the line
    lines: tuple[int, int]  # first and last of the statement, without the body of an `if`

    @property
    def key(self) -> str:
        nth = f" #{self.nth}" if self.nth else ""
        return f"{self.module}:{self.line} {self.operator}: {self.before} -> {self.after}{nth}"


def mutants(source: str, module: str) -> list[Mutant]:
    """All changes of a module, in the order of its lines."""
    return [found for found, _, _ in _changes(ast.parse(source), module)]


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The module with one change; raises ``LookupError`` if there is no such place in it."""
    tree = ast.parse(source)
    for found, node, change in list(_changes(tree, mutant.module)):
        if found == mutant:
            return ast.fix_missing_locations(_Replace(node, change).visit(tree))
    raise LookupError(mutant.key)


def function_lines(source: str) -> set[int]:
    """Lines that run when a function is called, not when its module is imported."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, functions):
            body = node.body if isinstance(node.body, list) else [node.body]
            if not isinstance(node, ast.Lambda):
                found.update(range(body[0].lineno, (body[-1].end_lineno or 0) + 1))
    return found


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.AST, change: ast.AST):
        self.node, self.change = node, change

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self.change, node) if node is self.node else super().visit(node)


def _changes(tree: ast.Module, module: str) -> Iterator[tuple[Mutant, ast.AST, ast.AST]]:
    seen: dict[tuple, Iterator[int]] = {}
    places = sorted(_places(tree), key=lambda place: (place[0].lineno, place[0].col_offset))
    for node, lines in places:
        for operator, change, *shown in _of_node(node):
            before, after = shown or (_short(node), _short(change))
            where = (node.lineno, operator, before, after)
            nth = next(seen.setdefault(where, count()))
            yield Mutant(module, *where, nth, lines), node, change


def _short(node: ast.AST) -> str:
    """One line of code, without the body of a statement."""
    return ast.unparse(node).splitlines()[0]


Lines = tuple[int, int]


def _places(node: ast.AST, lines: Lines = (0, 0)) -> Iterator[tuple[Located, Lines]]:
    """Nodes whose change somebody could notice, and the lines of the statement they stand in."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _passed_over(child):
                inside = _head(child) if isinstance(child, ast.stmt) else lines
                if isinstance(child, (ast.stmt, ast.expr)):
                    yield child, inside
                yield from _places(child, inside)


def _head(node: ast.stmt) -> Lines:
    """Lines of a statement before its body."""
    body = getattr(node, "body", None)
    last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    return node.lineno, last


def _passed_over(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.FunctionDef(name=name):
            return name in UNSEEN
        case ast.Expr(value=ast.Constant()):  # docstring
            return True
        case ast.Expr(value=call) | call if isinstance(call, ast.Call):
            return _name(call.func) in SPEAKING
        case ast.If(test=test):
            return ast.unparse(test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in ("__all__", "_EXPORTS")
    return False


def _name(function: ast.AST) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


# Name of the operator, what stands there instead and, where that is long, what to show of both.
Change = tuple[str, ast.AST] | tuple[str, ast.AST, str, str]


def _of_node(node: ast.AST) -> Iterator[Change]:
    for kinds, changes in _CHANGES.items():
        if isinstance(node, kinds):
            yield from changes(node)


def _like(node: ast.AST, **fields) -> ast.AST:
    """A copy of a node with other fields."""
    return type(node)(**(dict(ast.iter_fields(node)) | fields))


def _compared(node: ast.Compare) -> Iterator[Change]:
    for number, operator in enumerate(node.ops):
        ops = [*node.ops[:number], SWAPPED[type(operator)](), *node.ops[number + 1 :]]
        yield "compare", _like(node, ops=ops)


def _arithmetic(node: ast.BinOp) -> Iterator[Change]:
    texts = (ast.JoinedStr, ast.List, ast.Tuple)
    for side in (node.left, node.right):
        if isinstance(side, texts) or getattr(side, "value", None).__class__ is str:
            return
    if type(node.op) in SWAPPED:
        yield "arithmetic", _like(node, op=SWAPPED[type(node.op)]())


def _augmented(node: ast.AugAssign) -> Iterator[Change]:
    if type(node.op) in SWAPPED:
        yield "arithmetic", _like(node, op=SWAPPED[type(node.op)]())
    yield "statement", ast.Pass()


def _boolean(node: ast.BoolOp) -> Iterator[Change]:
    yield "boolean", _like(node, op=SWAPPED[type(node.op)]())


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    yield {ast.USub: "minus", ast.UAdd: "minus"}.get(type(node.op), "not"), node.operand


def _constant(node: ast.Constant) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        yield "constant", ast.Constant(type(node.value)(0) if node.value == 1 else node.value + 1)


def _condition(node: ast.If | ast.IfExp | ast.While) -> Iterator[Change]:
    for value in (False,) if isinstance(node, ast.While) else (True, False):
        yield "condition", _like(node, test=ast.Constant(value))


def _filter(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Iterator[Change]:
    for number, part in enumerate(node.generators):
        if part.ifs:
            parts = list(node.generators)
            parts[number] = _like(part, ifs=[])
            yield "condition", _like(node, generators=parts)


def _returned(node: ast.Return) -> Iterator[Change]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield "return", _like(node, value=ast.Constant(None))


def _sliced(node: ast.Slice) -> Iterator[Change]:
    for name in ("lower", "upper", "step"):
        if getattr(node, name) is not None:
            yield "slice", _like(node, **{name: None})


def _called(node: ast.Call) -> Iterator[Change]:
    for number, keyword in enumerate(node.keywords):
        others = [*node.keywords[:number], *node.keywords[number + 1 :]]
        shown = f"{_name(node.func)}({ast.unparse(keyword)})", f"{_name(node.func)}()"
        yield "keyword", _like(node, keywords=others), *shown
        if keyword.arg in ("min", "max"):
            other = _like(keyword, arg=OPPOSITE[keyword.arg])
            yield "opposite", _like(node, keywords=[*others, other])
    function = node.func
    if _name(function) in OPPOSITE:
        field = "attr" if isinstance(function, ast.Attribute) else "id"
        other = _like(function, **{field: OPPOSITE[_name(function)]})
        yield "opposite", _like(node, func=other)
    first_two = node.args if len(node.args) == 2 else []
    alike = len({ast.dump(argument) for argument in first_two}) == 1
    if first_two and not alike and _name(function) not in EITHER_WAY:
        if not any(isinstance(argument, ast.Starred) for argument in first_two):
            yield "arguments", _like(node, args=first_two[::-1])


def _statement(node: ast.Expr) -> Iterator[Change]:
    if isinstance(node.value, ast.Call):
        yield "statement", ast.Pass()


_CHANGES: dict[type | tuple[type, ...], Callable[..., Iterator[Change]]] = {
    ast.Compare: _compared,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _augmented,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.Constant: _constant,
    (ast.If, ast.IfExp, ast.While): _condition,
    (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp): _filter,
    ast.Return: _returned,
    ast.Slice: _sliced,
    ast.Call: _called,
    ast.Expr: _statement,
}
