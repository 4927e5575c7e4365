"""tools/calculator: against Python's own arithmetic, and bounded on any input."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlib.faults import Fault
from programs import loaded

calculator = loaded("tools/calculator")
written, value = calculator.text, calculator.value

integers = st.integers(-999, 999).map(lambda n: f"({n})" if n < 0 else str(n))
expressions = st.recursive(
    integers,
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=12,
)


@given(expressions)
@settings(max_examples=100, deadline=None)
def test_sums_and_products_are_those_of_python(expression: str) -> None:
    assert value(expression) == eval(expression)  # our own expressions, made above


@given(st.text(alphabet="0123456789.+-*/%^!(), epimaxsqrtln", max_size=40))
@settings(max_examples=200, deadline=1000)
def test_any_text_gives_a_number_or_a_fault_in_time(text: str) -> None:
    try:
        written(value(text))
    except Fault:
        pass


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction(1, 3), "0.333333333333333"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(7), "7"),
        (Fraction(1, 10**30), "0." + "0" * 29 + "1"),
        (2.0, "2"),
        (1e300, "1e+300"),
        (Fraction(-3, 2), "-1.5"),
    ],
)
def test_numbers_are_shown_exactly_where_they_can_be(number: Fraction | float, text: str) -> None:
    assert written(number) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("min(5)", "5"),
        ("08 + 15", "23"),
        ("2^3!", "64"),
        ("-3!!", "-720"),
        ("[1 + 2] × π / Π", None),
        ("0.1234567890123456789 + 1", "1.1234567890123456789"),
        ("+".join(["1"] * 500), "500"),
        ("-" * 999 + "1", None),
        ("10^400 / 3", None),
        ("max()", None),
        ("max(*(1, 2))", None),
        ("(1).real", None),
        ("1 if 2 else 3", None),
        ("0x10", None),
        ("1j", None),
        ("2(3)", None),
        ("'a' * 3", None),
    ],
)
def test_only_arithmetic_is_read(expression: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(Fault):
            written(value(expression))
    else:
        assert written(value(expression)) == text
