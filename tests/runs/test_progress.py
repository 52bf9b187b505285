import os
import signal
import threading
import time

import psutil
import pytest

from trivmap.runs.progress import Clock, Interrupted, Interruption, NoProgress, process_age, shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_next_one_is_not(number):
    before = signal.getsignal(number)
    with Interruption.catching() as interruption:
        assert not interruption
        interruption.check("nothing has happened")
        os.kill(os.getpid(), number)
        assert interruption
        with pytest.raises(Interrupted, match="stopped at step 3") as caught:
            interruption.check("stopped at step 3")
        assert caught.value.signal_number == number
        # A second one meets the handler that was there before.
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_last_check_is_not_lost(number):
    met = []
    before = signal.signal(number, lambda number, frame: met.append(number))
    try:
        with Interruption.catching() as interruption:
            interruption.check("the last look")
            os.kill(os.getpid(), number)
            assert not met
        assert met == [number]
    finally:
        signal.signal(number, before)


def test_a_signal_that_arrives_while_processes_compare_notes_is_not_lost(monkeypatch):
    def largest(told):
        os.kill(os.getpid(), signal.SIGTERM)
        return told

    with Interruption.catching() as interruption:
        with monkeypatch.context() as patched:
            patched.setattr("trivmap.runs.progress.largest", largest)
            assert not interruption
        assert interruption and interruption.signal_number == signal.SIGTERM


def interrupted_twice():
    with Interruption.catching():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one does not end at once")


def test_a_second_interrupt_ends_at_once():
    # A process started in the background of a script inherits SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), Interruption.catching():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_caught():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interruption.catching() as interruption:
            seen.append((bool(interruption), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_the_clock_adds_up_sessions_and_what_came_before_it():
    age = time.time() - psutil.Process().create_time()
    assert process_age() == pytest.approx(age, abs=1.0)
    clock = Clock(before=100.0, elapsed=7.0)
    assert clock.session == pytest.approx(7.0, abs=1.0)
    assert clock.total == pytest.approx(107.0, abs=1.0)
    assert Clock().total < 1.0
    earlier = clock.total
    time.sleep(0.02)
    assert 0.02 <= clock.total - earlier < 1


class Watched(NoProgress):
    def __init__(self):
        self.seen = []

    def begin(self, task, total, done=0):
        self.seen.append((task, total, done))

    def end(self):
        self.seen.append("end")


def test_what_is_shown_ends_however_the_work_does():
    """A progress bar left running would keep the terminal's cursor hidden."""
    watched = Watched()
    with shown(watched, "train", 10, 3):
        pass
    with pytest.raises(Interrupted), shown(watched, "sample", 5):
        raise Interrupted(2, "stopped")
    assert watched.seen == [("train", 10, 3), "end", ("sample", 5, 0), "end"]


def test_a_clock_that_steps_ages_no_process(monkeypatch):
    age = process_age()
    monkeypatch.setattr("trivmap.runs.progress.time.time", lambda: 1e10)
    assert process_age() == pytest.approx(age, abs=1.0)


def test_a_second_sigterm_ends_the_process_whatever_was_there_before():
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with Interruption.catching():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_step_of_a_larger_whole_has_another_way_on():
    stop = Interrupted(15, "interrupted at step 3 of 40; continue with trivmap train --resume run")
    other = stop.going_on_with("trivmap run --resume run")
    assert other.signal_number == 15
    assert str(other) == "interrupted at step 3 of 40; continue with trivmap run --resume run"
