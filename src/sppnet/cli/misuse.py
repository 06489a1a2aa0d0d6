"""What cannot be understood of a command, in the form of every other message: expected, what came, what to do."""

import re
from typing import Any

from typer.exceptions import TyperException

from sppnet.errors import did_you_mean

_CHOICES = re.compile(r"is not one of (.+?)\.?$")
_EXTRA = re.compile(r"^Got unexpected extra arguments? ?(?:\(s\) )?\((.+)\)")
_LIMITS = {"le": "at most", "lt": "below", "ge": "at least", "gt": "above"}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "yes or no"}


def in_words(error: TyperException) -> str:
    """Return the message of a command that cannot be understood."""
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sppnet"
    see = f"'{command} --help' says more."
    param, text = getattr(error, "param", None), error.format_message()
    if (missing := getattr(error, "option_name", None)) is not None:
        near = getattr(error, "possibilities", None)
        if near is None:
            return f"{missing} must be given a value, got none. --help of the command says more."
        known = [name for each in context.command.params for name in each.opts if name.startswith("--")]
        meant = "--threshold" if "--threshold" in known and missing.startswith("--conf") else missing
        return f"'{command}' has no option {missing}. {did_you_mean(meant, known) or see}"
    if param is not None and error.__cause__ is not None:
        return _of_value(_name(param), error.__cause__, see)
    if param is not None and text.startswith("Invalid value"):
        return f"{_name(param)}: {text.partition(': ')[2].rstrip('.')}. {see}"
    if param is not None and text.startswith("Missing"):
        return f"{_name(param)} must be given, got none. {see}"
    if (extra := _EXTRA.match(text)) is not None:
        takes = " ".join(map(_name, (each for each in context.command.params if each.param_type_name == "argument")))
        return f"'{command}' must be given {takes or 'options'} only, got {extra.group(1)} too. {see}"
    return f"{text.rstrip('.')}{'' if text.endswith('?') else f'. {see}'}"


def _name(param: Any) -> str:
    """Return an option, or what stands for an argument, as --help writes it."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper()).rstrip(".")
    return str(max(param.opts, key=len))


def _of_value(name: str, cause: Any, see: str) -> str:
    """Return what is wrong with the value of an option, by what pydantic found."""
    found = cause.errors()[0]
    got, limits = found["input"], found.get("ctx", {})
    limit = next((f"{words} {limits[key]:g}" for key, words in _LIMITS.items() if key in limits), "")
    if limit:
        return f"{name} must be {limit}, got {got}. {see}"
    choices = _CHOICES.search(found["msg"])
    if choices is not None:
        known = re.findall(r"'([^']+)'", choices.group(1))
        return f"{name} must be one of {', '.join(known)}, got '{got}'. {did_you_mean(str(got), known) or see}"
    kind = _KINDS.get(found["type"].partition("_")[0], found["msg"][:1].lower() + found["msg"][1:])
    return f"{name} must be {kind}, got '{got}'. {see}"
