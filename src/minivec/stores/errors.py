"""How a store says that something does not work."""


class StoreError(OSError):
    """The database refused, or went away: one line, without credentials."""


class Denied(StoreError, PermissionError):
    """The database forbids it."""


class Refused(ValueError):
    """A store that has not what is asked for, or rows that cannot be migrated."""
