"""Freed memory goes back to the system where a process computes on a CPU."""

import psutil  # type: ignore[import-untyped]

PIECE, NUM_PIECES = 64 * 1024, 3200
MB = 1_000_000


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def test_what_was_freed_below_something_that_is_kept_is_given_back() -> None:
    import torch

    from finetune_trainer.distributed.memory import give_back_memory

    pieces = [bytearray(PIECE) for _ in range(NUM_PIECES)]  # 210 MB, each too small for a mapping of its own
    kept = pieces[-1]
    pieces.clear()
    before = resident_bytes()

    give_back_memory(torch.device("cpu"))

    assert before - resident_bytes() > 100 * MB
    assert len(kept) == PIECE


def test_memory_of_a_process_that_computes_on_an_accelerator_is_left_as_it_is() -> None:
    import torch

    from finetune_trainer.distributed.memory import give_back_memory

    pieces = [bytearray(PIECE) for _ in range(NUM_PIECES)]
    kept = pieces[-1]
    pieces.clear()
    before = resident_bytes()

    give_back_memory(torch.device("cuda"))

    assert abs(before - resident_bytes()) < MB
    assert len(kept) == PIECE
