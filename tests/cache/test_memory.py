from hypothesis import given
from hypothesis import strategies as st

from gateway.cache import MemoryLru

OVERHEAD = MemoryLru._ENTRY_BYTES


def lru(max_bytes: int, max_items: int = 1000) -> MemoryLru[str, bytes]:
    return MemoryLru(max_bytes, max_items, len)


def test_what_was_used_last_stays() -> None:
    memory = lru(10**6, max_items=2)
    memory.set("a", b"1")
    memory.set("b", b"2")
    assert memory.get("a") == b"1"
    memory.set("c", b"3")
    assert memory.get("b") is None
    assert memory.get("a") == b"1"
    assert memory.get("c") == b"3"


def test_the_oldest_go_when_the_bytes_are_used_up() -> None:
    memory = lru(20 * (OVERHEAD + 100))
    for number in range(25):
        memory.set(str(number), b"x" * 100)
    assert len(memory) == 20
    assert memory.get("4") is None
    assert memory.get("5") is not None


def test_a_value_that_would_push_out_most_others_is_not_kept() -> None:
    memory = lru(10_000)
    memory.set("small", b"x")
    memory.set("large", b"x" * 9_000)
    assert memory.get("large") is None
    assert memory.get("small") == b"x"


def test_a_value_too_large_to_keep_still_replaces_the_old_one() -> None:
    memory = lru(10_000)
    memory.set("a", b"old")
    memory.set("a", b"x" * 9_000)
    assert memory.get("a") is None


def test_all_values_of_one_thing_can_be_dropped() -> None:
    memory: MemoryLru[tuple[str, int], bytes] = MemoryLru(10**6, 100, len)
    for number in range(3):
        memory.set(("a", number), b"x")
        memory.set(("b", number), b"x")
    assert memory.delete_where(lambda key: key[0] == "a") == 3
    assert memory.get(("a", 1)) is None
    assert memory.get(("b", 1)) == b"x"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from("abcdef"), st.integers(0, 3000)),
            st.tuples(st.just("get"), st.sampled_from("abcdef"), st.just(0)),
            st.tuples(st.just("delete"), st.sampled_from("abcdef"), st.just(0)),
        )
    )
)
def test_the_bounds_hold_and_the_weight_is_that_of_what_is_here(
    steps: list[tuple[str, str, int]],
) -> None:
    memory = lru(16_000, max_items=4)
    last: dict[str, bytes] = {}
    for what, key, size in steps:
        if what == "set":
            last[key] = b"x" * size
            memory.set(key, last[key])
        elif what == "delete":
            memory.delete(key)
            assert memory.get(key) is None
        else:
            assert memory.get(key) in (None, last.get(key))
        here = [value for key in "abcdef" if (value := memory._entries.get(key)) is not None]
        assert len(memory) == len(here) <= 4
        assert memory.bytes == sum(len(value) + OVERHEAD for value, _ in here) <= 16_000
    memory.clear()
    assert (len(memory), memory.bytes) == (0, 0)
