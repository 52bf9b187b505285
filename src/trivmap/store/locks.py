"""Locks between processes. The system releases them when a process ends, even if it is killed."""

import errno
import fcntl
import functools
import sys

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF}
"""Errors of parallel, network and user-space file systems that have no locks; EBADF for locking a folder on NFS."""


def flock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file for this process, if no other one holds it; None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def wait_for(descriptor: int) -> None:
    """Lock an open file or folder for this process, as soon as no other one holds it; nothing where there are no locks.

    The lock ends when the file is closed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file for this process, if no other one holds it.

    If the file system has no locks, the answer is True, and a sentence on stderr reports it, once per process.
    """
    taken = flock(descriptor, shared=shared)
    if taken is None:
        _say_that_nothing_locks()
    return taken is not False


@functools.cache
def _say_that_nothing_locks() -> None:
    sys.stderr.write(
        "trivmap: this file system has no file locks; nothing keeps two processes from working in one directory, so "
        "start one at a time\n"
    )
