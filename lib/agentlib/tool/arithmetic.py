"""Arithmetic expressions: read by Python's own parser, worked out here with exact numbers (fractions), no eval.

Only the nodes that `_value` names are arithmetic; a name is a function or constant of the two tables.
"""

import ast
import math
import operator
import re
import warnings
from fractions import Fraction

from agentlib.faults import Fault
from agentlib.types import Callable

Number = Fraction | float

LENGTH = 1_000  # characters of an expression, which bounds its depth as well
BITS = 100_000  # of a number: about 30,000 digits
DIGITS = 15  # of what is not exact
PLACES = 30  # behind the point of what is
_SIGNS = str.maketrans("×·⋅÷−–[]", "***/--()", "_")
_CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e}


def value(expression: str) -> Number:
    """The value: a Fraction where it is exact, else a float. A Fault says what is wrong with the expression."""
    if len(expression) > LENGTH:
        raise Fault("limit_exceeded", f"the expression has more than {LENGTH} characters")
    try:
        result = _value(*_tree(expression))
    except ZeroDivisionError:
        raise Fault("tool_error", "division by zero") from None
    except OverflowError:
        raise Fault("tool_error", "the result is too large") from None
    except ValueError:
        raise Fault("tool_error", "outside of what the function is defined for") from None
    except (RecursionError, MemoryError):
        raise Fault("limit_exceeded", "the expression is nested too deeply") from None
    if isinstance(result, float) and not math.isfinite(result):
        raise Fault("tool_error", "the result is too large")
    return result


def text(number: Number) -> str:
    """The number in digits: a whole or a finite decimal fraction exactly, else DIGITS significant digits."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        number = Fraction(number)
    if isinstance(number, float) or 10**PLACES % number.denominator:
        try:
            return f"{float(number):.{DIGITS}g}"
        except OverflowError:
            raise Fault("tool_error", "the result is too large") from None
    digits = str(abs(int(number * 10**PLACES))).rjust(PLACES + 1, "0")
    text = f"{digits[:-PLACES]}.{digits[-PLACES:]}".rstrip("0").rstrip(".")
    return f"-{text}" if number < 0 else text


def _integer(number: Number) -> int:
    if not number.is_integer() if isinstance(number, float) else number.denominator != 1:
        raise Fault("invalid_arguments", "factorial needs a whole number")
    return int(number)


def _factorial(number: Number) -> Number:
    if _integer(number) > 5_000:
        raise Fault("limit_exceeded", "the result is too large")
    return Fraction(math.factorial(_integer(number)))


def _round(number: Number, digits: Number = Fraction(0)) -> Number:
    """Half away from zero, as taught in school."""
    scale = Fraction(10) ** max(-1_000, min(1_000, _integer(digits)))
    exact = Fraction(number) * scale
    return Fraction(math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)) / scale


def _sqrt(number: Number) -> Number:
    """Exact where the number is the square of a fraction."""
    if isinstance(number, Fraction) and number >= 0:
        root = Fraction(math.isqrt(number.numerator), math.isqrt(number.denominator))
        if root * root == number:
            return root
    return math.sqrt(number)


def _power(base: Number, exponent: Number) -> Number:
    """Exact for a whole exponent, as long as the result is not too large to write down."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(abs(base.numerator), base.denominator).bit_length()
        if size > 1 and size * abs(exponent.numerator) > BITS:
            raise Fault("limit_exceeded", "the result is too large")
        if abs(base) == 1:
            return base if exponent.numerator % 2 else abs(base)
        return Fraction(base**exponent.numerator)
    result = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise Fault("tool_error", "the root of a negative number")
    return float(result)


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{"abs": abs, "sqrt": _sqrt, "round": _round, "factorial": _factorial},
    "min": lambda x, *more: min((x, *more)),
    "max": lambda x, *more: max((x, *more)),
    "ln": lambda x: math.log(x),
    "log": lambda x, base=10: math.log10(x) if base == 10 else math.log(x, base),
    **{name: getattr(math, name) for name in "floor ceil exp log10 log2 sin cos tan".split()},
}
# a node of the tree: what it does to its numbers
_OPERATORS: dict[type[ast.AST], Callable[..., Number]] = {ast.Add: operator.add, ast.Pow: _power}
_OPERATORS |= {ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_OPERATORS |= {ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod}
_OPERATORS |= {ast.USub: operator.neg, ast.UAdd: operator.pos}


def _tree(expression: str) -> tuple[ast.expr, str]:
    """The expression as a tree of Python's, and the text that it was read from: `^` is `**`, `x!` the attribute `_`."""
    text = expression.translate(_SIGNS).replace("^", "**").replace("!", " ._").replace("π", "pi")
    text = " ".join(re.sub(r"(?<![\w.])0+(?=\d)", "", text).split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.parse(text, mode="eval").body, text
    except SyntaxError as bad:
        where = text[max(0, (bad.offset or 1) - 1) :][:20]
        raise _wrong(f"{bad.msg}, at {where!r}") from None


def _value(node: ast.expr, text: str) -> Number:
    """What a node of the tree comes to."""
    match node:
        case ast.Constant():
            return _number(ast.get_source_segment(text, node) or "")
        case ast.Name() if node.id.lower() in _CONSTANTS:
            return _CONSTANTS[node.id.lower()]
        case ast.UnaryOp() if function := _OPERATORS.get(type(node.op)):
            return function(_value(node.operand, text))
        case ast.BinOp() if function := _OPERATORS.get(type(node.op)):
            return _exact(function(_value(node.left, text), _value(node.right, text)))
        case ast.Attribute(attr="_"):
            return _factorial(_value(node.value, text))
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name.lower() in _FUNCTIONS:
            numbers = [_value(one, text) for one in node.args]
            try:
                return _exact(_FUNCTIONS[name.lower()](*numbers))
            except TypeError:
                raise _wrong(f"{name.lower()} does not take {len(numbers)} numbers") from None
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            known = " ".join([*_FUNCTIONS, *_CONSTANTS])
            raise _wrong(f"unknown name {name!r}; known: {known}")
    raise _wrong(f"{ast.unparse(node)[:20]!r} is no arithmetic")


def _exact(number: Number) -> Number:
    """A whole number is a fraction too; one that is too long to write down is a Fault."""
    if isinstance(number, float):
        return number
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > BITS:
        raise Fault("limit_exceeded", "the result is too large")
    return Fraction(number)


def _number(text: str) -> Fraction:
    """The number as it is written, every digit of it."""
    _, _, exponent = text.lower().partition("e")
    if not re.fullmatch(r"[\d.]+(e[-+]?\d+)?", text.lower()):
        raise _wrong(f"{text[:20]!r} is no number")
    if abs(int(exponent or 0)) > BITS // 4:
        raise Fault("limit_exceeded", "a number in the expression is too large")
    return Fraction(text)


def _wrong(why: str) -> Fault:
    return Fault("invalid_arguments", f"the expression: {why}")
