from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.places import Places, QueueFull


def take(places: Places) -> Deferred[None]:
    return Deferred.fromCoroutine(places.take())


class PlacesTests(SynchronousTestCase):
    def test_first_come_first_served(self) -> None:
        places = Places(2, 10)
        tasks = [take(places) for _ in range(4)]
        self.assertEqual([task.called for task in tasks], [True, True, False, False])
        places.leave()
        self.assertEqual([task.called for task in tasks], [True, True, True, False])
        places.leave()
        self.successResultOf(tasks[3])

    def test_a_full_queue_refuses(self) -> None:
        places = Places(1, 1)
        take(places), take(places)
        self.failureResultOf(take(places), QueueFull)
        self.assertEqual((places.taken, places.waiting), (1, 1))

    def test_without_limit(self) -> None:
        places = Places(0, 0)
        for _ in range(50):
            self.successResultOf(take(places))
        self.assertEqual(places.most_taken, 50)

    def test_one_that_stops_waiting_leaves_the_queue(self) -> None:
        places = Places(1, 2)
        take(places)
        waiting, behind = take(places), take(places)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        places.leave()
        self.successResultOf(behind)
        places.leave()
        self.assertEqual(places.taken, 0)

    @given(
        st.integers(1, 4),
        st.integers(0, 4),
        st.lists(st.sampled_from(["come", "leave", "cancel"]), max_size=60),
    )
    def test_never_more_than_the_limit_and_no_place_is_lost(
        self, limit: int, queue: int, deeds: list[str]
    ) -> None:
        places = Places(limit, queue)
        waiting: list[Deferred[None]] = []
        working = 0
        for deed in deeds:
            if deed == "come":
                task = take(places)
                if not task.called:
                    waiting.append(task)
                elif isinstance(task.result, type(None)):
                    working += 1
                else:
                    self.failureResultOf(task, QueueFull)
                    self.assertEqual((working, len(waiting)), (limit, queue))
            elif deed == "leave" and working:
                places.leave()
                if waiting:
                    self.successResultOf(waiting.pop(0))
                else:
                    working -= 1
            elif deed == "cancel" and waiting:
                task = waiting.pop()
                task.cancel()
                self.failureResultOf(task, CancelledError)
            self.assertEqual((places.taken, places.waiting), (working, len(waiting)))
            self.assertLessEqual(working, limit)
