"""What a trial worker runs for TestTrialWorker."""

from twisted.internet import reactor, task
from twisted.python import log
from twisted.trial import unittest


class SampleTests(unittest.TestCase):
    def test_pass(self):
        return task.deferLater(reactor, 0.001)

    def test_fail(self):
        self.assertEqual(1, 2)

    def test_error(self):
        raise KeyError("h\u00e9")

    def test_skip(self):
        raise unittest.SkipTest("not today")

    def test_todo(self):
        self.fail("one day")

    test_todo.todo = "later"

    def test_unexpected(self):
        pass

    test_unexpected.todo = "never"

    def test_log(self):
        log.msg("a line of the log")
