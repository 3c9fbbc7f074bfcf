"""What every format's refusals have in common."""

from collections.abc import Callable
from pathlib import Path

import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_input import read_ct


@pytest.fixture(scope="session")
def refused() -> Callable[..., InputError]:
    """read_ct must refuse in one line that names the file and says what to do."""

    def check(path: Path, problem: str, named: Path | None = None, **choice) -> InputError:
        with pytest.raises(InputError, match=problem) as caught:
            read_ct(path, **choice)
        assert str(named or path) in caught.value.where
        assert "\n" not in str(caught.value)
        assert caught.value.remedy
        return caught.value

    return check
