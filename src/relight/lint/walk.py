"""The walk through the code of workflows: what is called is followed, what is found is kept.

The linter runs nothing. It walks through functions statement by statement, as they would run, and knows of each name
what it may stand for at that point: enough to see through aliases, imports, closures, methods and arguments. Where ways
part, all are taken, and what is known is joined. What it does not know, it does not report: a finding has to be worth
a look, or nobody keeps the check. Loops are walked once, and a function once for each kind of arguments.

The pieces call each other through this hub: `expressions`, `comprehensions` and `calls` say what a value is,
`statements` what a body does, `following` goes into functions, `names` and `members` say what a name and an attribute
are, `annotations` what a type promises, `sets` and `shared` what is wrong about a set or a variable.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TypeVar, cast, final

from relight.lint.annotations import annotated
from relight.lint.calls import call_values
from relight.lint.catalogue import rule_of_call
from relight.lint.decorators import decorated
from relight.lint.expressions import values_of
from relight.lint.finding import Finding
from relight.lint.following import Following
from relight.lint.frame import Frame
from relight.lint.members import member
from relight.lint.module import Module
from relight.lint.names import look_up, resolved
from relight.lint.project import Project
from relight.lint.rules import Rule
from relight.lint.statements import execute
from relight.lint.values import NOTHING, Arguments, Function, Value, Values, Workflow

__all__ = ("Walk",)

T = TypeVar("T")


@final
class Walk:
    """One walk through a project.

    Attributes:
        workflows: Those that were come across, in order, and the module in which they were decorated.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.workflows: dict[Workflow, Module] = {}
        self._findings: dict[tuple[str, int, int, str], Finding] = {}
        self._following = Following(self)
        self._known: dict[object, object] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in all workflows that were entered, each place once, by file and line."""
        return tuple(self._findings[key] for key in sorted(self._findings))

    def enter(self, workflow: Workflow) -> None:
        """Walk through a workflow and all that it calls."""
        for function in workflow.functions:
            if isinstance(function, Function):
                self._following.enter(function)

    def report(self, rule: Rule, what: str, node: ast.expr | ast.stmt, frame: Frame) -> None:
        """Keep a finding, if this is code of a workflow and nothing in its lines allows it."""
        module = frame.module
        if not frame.is_durable or module.allows(rule, node):
            return
        key = (module.shown, node.lineno, module.column(node), rule.name)
        self._findings.setdefault(key, _finding(key, f"{what} {rule.problem}", rule.remedy, frame))

    def report_call(self, name: str, arguments: int, node: ast.expr, frame: Frame) -> None:
        """Report a call of something outside the project, if it breaks a rule."""
        rule = rule_of_call(name, arguments)
        if rule is not None:
            self.report(rule, f"{name.removeprefix('builtins.')}()", node, frame)

    # What the pieces ask of each other.

    def evaluate(self, node: ast.expr, frame: Frame) -> Values:
        """Return what an expression may be, and report what is wrong in it."""
        return values_of(node, frame, self)

    def call(self, called: Values, arguments: Arguments, node: ast.expr, frame: Frame) -> Values:
        """Return what calling these gives."""
        return call_values(called, arguments, node, frame, self)

    def look_up(self, name: str, frame: Frame) -> Values:
        """Return what a name stands for."""
        return look_up(name, frame, self)

    def resolved(self, values: Values) -> Values:
        """Return the values with those behind imports in their place."""
        return resolved(values, self)

    def member(self, value: Value, name: str, node: ast.expr, frame: Frame) -> Values:
        """Return an attribute; a property is walked through."""
        return member(value, name, node, frame, self)

    def annotated(self, node: ast.expr | None, frame: Frame) -> Values:
        """Return what an annotation promises."""
        return NOTHING if node is None else annotated(node, frame, self)

    def declared_return(self, function: Function) -> Values:
        """Return what a function promises to return."""
        return (
            NOTHING if isinstance(function.node, ast.Lambda) else self.annotated(function.node.returns, function.frame)
        )

    def decorated(self, function: Function, frame: Frame) -> Values:
        """Return what a name stands for after its function was defined."""
        return decorated(function, frame, self)

    def frame_of(self, function: Function) -> Frame:
        """Return a frame for looking at parts of a function: its parameters are known by their annotations."""
        return self._following.frame_of(function)

    def execute(self, body: Iterable[ast.stmt], frame: Frame) -> bool:
        """Walk through statements and return whether their end is reached."""
        return execute(body, frame, self)

    def names_of(self, module: Module) -> Frame:
        """Return the names of a module; in a circle of imports, those that it has so far."""
        if not module.is_walked:
            module.is_walked = True
            self.execute(module.tree.body, module.frame)
        return module.frame

    def once(self, key: object, find: Callable[[], T], *, meanwhile: T) -> T:
        """Return what was found under this key, or find it now; who asks meanwhile goes round in a circle."""
        if key not in self._known:
            self._known[key] = meanwhile
            self._known[key] = find()
        return cast("T", self._known[key])

    def follow(self, function: Function, arguments: Arguments, node: ast.expr, frame: Frame) -> Values:
        """Walk through a function that is called at the node, and return what it returns."""
        return self._following.follow(function, arguments, node, frame)

    def use(self, values: Values, node: ast.expr, frame: Frame) -> None:
        """Follow functions that are passed on to where the walk can't see what becomes of them."""
        for value in values:
            if isinstance(value, Function) and frame.is_durable:
                self.follow(value, Arguments(), node, frame)


def _finding(key: tuple[str, int, int, str], message: str, remedy: str, frame: Frame) -> Finding:
    path, line, column, rule = key
    return Finding(
        path=path,
        line=line,
        column=column,
        rule=rule,
        message=message,
        remedy=remedy,
        function=frame.name,
        callers=frame.callers,
    )
