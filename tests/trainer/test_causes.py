"""What an exception came from."""

from collections.abc import Callable, Iterator

import pytest

from finetune_trainer.workspace.causes import admitted_causes, causes, stated_causes


@pytest.mark.parametrize("chain", [causes, admitted_causes, stated_causes])
def test_an_error_that_came_from_itself_is_told_once(chain: Callable[[BaseException], Iterator[BaseException]]) -> None:
    inner, outer = ValueError("inner"), RuntimeError("outer")
    outer.__cause__, inner.__cause__ = inner, outer

    assert list(chain(outer)) == [outer, inner]
