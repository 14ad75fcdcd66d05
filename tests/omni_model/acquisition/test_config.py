"""The configuration refuses what makes no sense, and the registry what it does not know."""

import subprocess
import sys

import pytest

from omni_model.acquisition import MARGIN, SelectionConfig, find_acquisition, register, select


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget", 0),
        ("control_share", 1.0),
        ("control_share", -0.1),
        ("control_share", float("nan")),
        ("near_duplicate_cosine", 1.1),
        ("near_duplicate_cosine", -1.0),
        ("max_near_duplicates", 0),
        ("domain_quota", 1.5),
        ("domain_quota", {"en": -0.2}),
        ("overfetch", 1),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_named_with_its_mend(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"selection.{field} must be .* Set OMNI_SELECTION__{field.upper()}"):
        SelectionConfig(**{field: value})  # type: ignore[arg-type]


def test_an_unknown_function_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"must be one of badge, bald, .*, random, got 'psychic'"):
        select([], SelectionConfig(acquisition="psychic"))


def test_every_function_is_found_by_its_name() -> None:
    assert find_acquisition("margin") is MARGIN


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'margin' is registered already"):
        register(MARGIN)


def test_selection_needs_neither_torch_nor_mlflow() -> None:
    code = "import sys, omni_model.acquisition as _; print({'torch', 'mlflow', 'prefect', 'scipy'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
