"""Arithmetic expressions: a small parser and exact numbers (fractions), no eval.

sum     = product (("+" | "-") product)*
product = signed (("*" | "/" | "//" | "%") signed)*
signed  = ("-" | "+") signed | power
power   = atom "!"* (("^" | "**") signed)?
atom    = NUMBER | NAME | NAME "(" sum ("," sum)* ")" | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from agentlib.faults import Fault
from agentlib.types import Callable

Number = Fraction | float

LENGTH = 1_000  # characters of an expression
DEPTH = 100  # brackets within brackets
BITS = 100_000  # of a number: about 30,000 digits
DIGITS = 15  # of what is not exact
_TOKEN = re.compile(
    r"\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[A-Za-zπ]\w*|\*\*|//|[-+*/%^!(),])", re.ASCII
)
_WRITTEN = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"}
)
_NAMES: dict[str, float] = {"pi": math.pi, "e": math.e, "π": math.pi}


def value(expression: str) -> Number:
    """The value: a Fraction where it is exact, else a float. A Fault says what is wrong with the expression."""
    if len(expression) > LENGTH:
        raise Fault("limit_exceeded", f"the expression has more than {LENGTH} characters")
    parser = _Parser(_tokens(expression.translate(_WRITTEN)))
    try:
        result = parser.sum()
        parser.end()
    except ZeroDivisionError:
        raise Fault("tool_error", "division by zero") from None
    except OverflowError:
        raise Fault("tool_error", "the result is too large") from None
    except ValueError:
        raise Fault("tool_error", "outside of what the function is defined for") from None
    if isinstance(result, float) and not math.isfinite(result):
        raise Fault("tool_error", "the result is too large")
    return result


def shown(number: Number) -> str:
    """The number in digits: a whole or a finite decimal fraction exactly, else DIGITS significant digits."""
    if isinstance(number, float):
        if not number.is_integer() or abs(number) >= 1e15:
            return f"{number:.{DIGITS}g}"
        number = Fraction(number)
    if number.denominator == 1:
        return str(number.numerator)
    rest, places = number.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest > 1 or places > 30:
        return f"{float(number):.{DIGITS}g}"
    sign, digits = "-" * (number < 0), str(abs(number.numerator) * 10**places // number.denominator)
    digits = digits.rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if not match:
            wrong = text[at:].strip()
            raise Fault("invalid_arguments", f"cannot read {wrong[:20]!r} in the expression")
        found.append(match.group().strip())
        at = match.end()
    return found


def _whole(number: Number) -> int:
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if isinstance(number, float) or number.denominator != 1:
        raise Fault("invalid_arguments", "factorial needs a whole number")
    return number.numerator


def _factorial(number: Number) -> Number:
    if _whole(number) > 5_000:
        raise Fault("limit_exceeded", "the result is too large")
    return Fraction(math.factorial(_whole(number)))


def _round(number: Number, digits: Number = Fraction(0)) -> Number:
    """Half away from zero, as taught in school."""
    scale = Fraction(10) ** max(-1_000, min(1_000, _whole(digits)))
    exact = Fraction(number) * scale
    return Fraction(math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)) / scale


def _sqrt(number: Number) -> Number:
    """Exact where the number is the square of a fraction."""
    if isinstance(number, Fraction) and number >= 0:
        root = Fraction(math.isqrt(number.numerator), math.isqrt(number.denominator))
        if root * root == number:
            return root
    return math.sqrt(number)


_FUNCTIONS: dict[
    str, tuple[int, int, Callable[..., Number]]
] = {  # name: fewest, most arguments, function
    "abs": (1, 1, abs),
    "sqrt": (1, 1, _sqrt),
    "round": (1, 2, _round),
    "factorial": (1, 1, _factorial),
    "floor": (1, 1, lambda x: Fraction(math.floor(x))),
    "ceil": (1, 1, lambda x: Fraction(math.ceil(x))),
    "min": (1, 99, min),
    "max": (1, 99, max),
    "exp": (1, 1, math.exp),
    "ln": (1, 1, math.log),
    "log": (1, 2, lambda x, base=10: math.log10(x) if base == 10 else math.log(x, base)),
    "log10": (1, 1, math.log10),
    "log2": (1, 1, math.log2),
    "sin": (1, 1, math.sin),
    "cos": (1, 1, math.cos),
    "tan": (1, 1, math.tan),
}


def _bounded(number: Number) -> Number:
    if (
        isinstance(number, Fraction)
        and max(number.numerator.bit_length(), number.denominator.bit_length()) > BITS
    ):
        raise Fault("limit_exceeded", "the result is too large")
    return number


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


class _Parser:
    """Takes the tokens from the left, by the grammar above; one method a rule."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def _next(self, *wanted: str) -> str:
        """The next token, taken if it is one of these; "" if not."""
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return ""

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise Fault(
                "invalid_arguments", f"unexpected {self._tokens[self._at]!r} in the expression"
            )

    def _need(self, token: str) -> None:
        if not self._next(token):
            here = self._tokens[self._at] if self._at < len(self._tokens) else "the end"
            raise Fault(
                "invalid_arguments", f"expected {token!r}, found {here!r} in the expression"
            )

    def sum(self) -> Number:
        left = self._product()
        while sign := self._next("+", "-"):
            right = self._product()
            left = _bounded(left + right if sign == "+" else left - right)
        return left

    def _product(self) -> Number:
        left = self._signed()
        while sign := self._next("*", "/", "//", "%"):
            right = self._signed()
            if sign == "*":
                left = _bounded(left * right)
            elif sign == "/":
                left = _bounded(left / right)
            else:
                left = left % right if sign == "%" else Fraction(left // right)
        return left

    def _signed(self) -> Number:
        self._depth += 1
        if self._depth > DEPTH:
            raise Fault("limit_exceeded", "the expression is nested too deeply")
        sign = self._next("-", "+")
        found = self._signed() if sign else self._power()
        self._depth -= 1
        return -found if sign == "-" else found

    def _power(self) -> Number:
        base = self._atom()
        while self._next("!"):
            base = _factorial(base)
        return _power(base, self._signed()) if self._next("^", "**") else base

    def _atom(self) -> Number:
        if self._next("("):
            inner = self.sum()
            self._need(")")
            return inner
        if self._at == len(self._tokens):
            raise Fault("invalid_arguments", "the expression ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if token[0].isdigit() or token[0] == ".":
            return _number(token)
        if token[0].isalpha():
            return self._named(token.lower())
        raise Fault("invalid_arguments", f"unexpected {token!r} in the expression")

    def _named(self, name: str) -> Number:
        if name not in _FUNCTIONS:
            if name in _NAMES:
                return _NAMES[name]
            raise Fault(
                "invalid_arguments",
                f"unknown name {name!r}; known: {' '.join([*_FUNCTIONS, 'pi', 'e'])}",
            )
        self._need("(")
        given = [self.sum()]
        while self._next(","):
            given.append(self.sum())
        self._need(")")
        fewest, most, function = _FUNCTIONS[name]
        if not fewest <= len(given) <= most:
            raise Fault(
                "invalid_arguments",
                f"{name} takes {fewest}{f' to {most}' if most > fewest else ''} numbers",
            )
        found = function(*given)
        return Fraction(found) if isinstance(found, int) else found


def _number(token: str) -> Fraction:
    digits, _, exponent = token.lower().partition("e")
    if abs(int(exponent or 0)) > BITS // 4:
        raise Fault("limit_exceeded", "a number in the expression is too large")
    return Fraction(digits) * Fraction(10) ** int(exponent or 0)
