"""Running a witness: its key and state in its own folder, the logs' public keys from whoever it trusts to name them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import structlog

from streams.audit.alerting import AlertSender, KafkaPublisher
from streams.audit.follower import Follower, count_lanes, open_consumer
from streams.audit.segments import follow
from streams.core.errors import PortcullisError
from streams.wire.keys import KeyFileError, write_file
from streams.wire.note import SignatureType, Signer
from streams.witness.state import WitnessState
from streams.witness.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from streams.pulse import Pulse
    from streams.wire.log_keys import LogKey

_log = structlog.get_logger(__name__)

_SEED_BYTES: Final = 32
_PAUSE_S: Final = 1.0


def load_cosigner(folder: Path, name: str) -> Signer:
    """Return the witness's key, made the first time. Raises: KeyFileError where the file is not a key."""
    path = folder / "witness.seed"
    if not path.is_file():
        write_file(path, secrets.token_bytes(_SEED_BYTES), secret=True)
    seed = path.read_bytes()
    if len(seed) != _SEED_BYTES:
        raise KeyFileError(f"{path}: {_SEED_BYTES} bytes required, has {len(seed)}")
    return Signer.from_seed(name, seed, SignatureType.COSIGNATURE_V1)


def run_witness(  # noqa: PLR0913 - what a witness needs
    cluster: Mapping[str, str],
    prefix: str,
    log_origin: str,
    keys: Callable[[str], Sequence[LogKey]],
    cosigner: Signer,
    folder: Path,
    stop: Event,
    *,
    pulse: Pulse | None = None,
) -> None:
    """Follow and cosign every log until asked to stop; `keys` gives a log's public keys by its origin.

    Raises: FollowError where Kafka has not the topics, WitnessStateError where the state is lost.
    """
    consumer = open_consumer(cluster, f"{prefix}portcullis-witness")
    publisher = KafkaPublisher(cluster, prefix)
    try:
        origins = {lane: f"{log_origin}/{lane}" for lane in range(count_lanes(consumer, prefix))}
        state = WitnessState(folder / "state.json")
        witness = Witness(cosigner, state, origins, publisher, AlertSender(publisher, "witness"))
        begin = {lane: follow(origin, keys(origin)) for lane, origin in origins.items()}
        follower = Follower(consumer, begin, witness, prefix=prefix, pulse=pulse)
        _log.info("witnessing", logs=len(origins), key=cosigner.verifier.vkey)
        while not stop.is_set():
            follower.step()
            _try(witness.cosign_due, stop)
        _try(lambda: witness.cosign_due(at_once=True), stop)
    finally:
        consumer.close()


def _try(cosign: Callable[[], None], stop: Event) -> None:
    """Cosign; where it cannot be published or kept, it waits and is made again."""
    try:
        cosign()
    except PortcullisError as error:
        _log.error("cosignature not published", error=str(error))
        stop.wait(_PAUSE_S)
