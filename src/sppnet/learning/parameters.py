"""What an estimator was made with: read, changed and copied as scikit-learn's are."""

import inspect
from typing import Any, NoReturn, Self

from sppnet.errors import check_that


class Parameters:
    """An estimator whose ``__init__`` keeps every argument under its own name, unchanged.

    ``sklearn.base.clone`` makes a new one of the same arguments, without what was learnt. Pickle is refused: a
    pickled model runs code when it is opened.
    """

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 (scikit-learn's)
        """Return the arguments it was made with, by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **changed: Any) -> Self:
        """Change arguments; they count from the next ``fit``.

        Raises:
            ArgumentError: a name that is no argument.
        """
        for name, value in changed.items():
            known = self._names()
            expected, advice = f"one of {', '.join(known)}", "Name an argument of its constructor"
            check_that(name in known, f"{type(self).__name__}.set_params", "name", expected, repr(name), advice=advice)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the call that makes the same one, where arguments are other than usual."""
        usual = inspect.signature(type(self).__init__).parameters
        given = {name: value for name, value in self.get_params().items() if value != usual[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be pickled."""
        name = type(self).__name__
        raise TypeError(
            f"{name}: cannot be pickled. Write it with {name.lower()}.save(path), read it with sppnet.load(path)."
        )
