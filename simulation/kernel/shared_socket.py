"""A listening socket that several processes share."""

from __future__ import annotations

from socket import AF_INET

from attrs import define


@define
class SharedSocket:
    """Stands for a listening socket that a parent has opened for its workers."""

    number: int
    family: int = AF_INET

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        """The parent keeps it open."""

    def __enter__(self) -> SharedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
