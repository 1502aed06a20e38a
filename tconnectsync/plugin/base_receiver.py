"""A receiver in which only ``deliver`` has to be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime

from tconnectsync.plugin.receiver import CheckResult, Delivery, Outcome, ReceiverConflict, StoredDocument


class BaseReceiver(ABC):
    """A :class:`tconnectsync.Receiver` with defaults for everything but :meth:`deliver`.

    The defaults suit a receiver that cannot read back what it stored. After a lost disk such a receiver gets every document
    again, so ``deliver`` must replace a document that has the same ``document_id``.
    """

    address: str
    """By default the class name. Set it if the options can point to another place: a new address asks for a replay."""
    batch_size: int = 100

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "address"):
            cls.address = cls.__name__

    @abstractmethod
    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """See :meth:`tconnectsync.Receiver.deliver`."""

    def inspect(self, first: datetime, last: datetime) -> ReceiverConflict | None:  # noqa: ARG002 - the protocol's signature
        """Return no conflict."""
        return None

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:  # noqa: ARG002
        """Yield nothing: this receiver cannot list its documents."""
        return iter(())

    def check(self) -> Iterator[CheckResult]:
        """Yield that nothing is checked before the first delivery."""
        yield CheckResult(good=True, what=f"{self.address}: not checked before the first delivery")
