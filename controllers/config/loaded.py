"""A configuration that was read, with what is wrong with it: known before the reader of configurations is loaded."""

from collections.abc import Mapping

import attrs

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.problem import Ignored, Problem, render
from nodespan.resources.config import MachineConfigSpec
from nodespan.runtime.resource import FrozenMapping


@attrs.frozen(kw_only=True)
class Loaded:
    """`config` may be used only if there are no `errors`; `ignored` are the parts without effect in nodespan.

    `texts` are those of the files by their names, as far as they could be read.
    """

    config: MachineConfigSpec
    problems: tuple[Problem, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    texts: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the configuration unusable."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    def strictly(self) -> "Loaded":
        """The same, but what nothing here knows makes the configuration unusable."""
        problems = [
            attrs.evolve(problem, severity=Severity.ERROR) if problem.unknown else problem for problem in self.problems
        ]
        problems += [
            Problem(
                severity=Severity.ERROR,
                message="unknown kind of document",
                file=ignored.file,
                line=ignored.line,
                column=1,
                path=ignored.path,
                unknown=True,
            )
            for ignored in self.ignored
            if ignored.is_unknown
        ]
        return attrs.evolve(
            self,
            problems=tuple(problems),
            ignored=tuple(ignored for ignored in self.ignored if not ignored.is_unknown),
        )

    def render(self, problem: Problem) -> str:
        """A problem with its line and a caret."""
        return render(problem, self.texts.get(problem.file, ""))
