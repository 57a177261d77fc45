"""Errors written for people: what was found, where, and what to do about it.

None of these messages ever contains key material; a test greps for it.
"""


class DbafError(Exception):
    """Base of every error that `dbaf` raises on purpose. Its text is shown to users as it is."""


class PictureError(DbafError):
    """A picture could not be read, is not supported, or could not be written."""


class NoFaceError(PictureError):
    """No face was found in a picture in which one was expected."""


class CapsuleError(PictureError):
    """A capsule is malformed, damaged, or does not open with this key."""


class ChangedPictureError(CapsuleError):
    """A capsule opens, but the picture is not the one that it was sealed for."""


class SecretError(DbafError):
    """A key file, passphrase or environment variable is missing, malformed or refused."""


class LockedKeyError(SecretError):
    """A key file needs a passphrase, and none was given."""


class WeightsError(DbafError):
    """A weight file is missing, short, altered or of an unknown kind."""
