"""Describe the topics for others: an AsyncAPI 3 document, drawn from `topics.toml` and the Avro schemas.

Committed as `topology/asyncapi.json`; a test holds it against what this module makes. Source: AsyncAPI 3.0.0, Kafka
bindings 0.5.0.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from streams.resources import resource

if TYPE_CHECKING:
    from streams.topics.model import TopicSpec, Topology

_AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
_BYTES: Final = "application/octet-stream"
# Headers that a topic's messages carry besides the CloudEvents attributes; all are bytes.
_TRACE: Final = {"traceparent": "W3C Trace Context of the sender's span, where it traces."}
_HEADERS: Final = {
    "orders.requested": {
        "signature": "ECDSA P-256 with SHA-256 (DER) over the DSSE encoding of the Avro body.",
        "x5t#S256": "SHA-256 of the bot's certificate (DER).",
        **_TRACE,
    },
    "orders.rejected": _TRACE,
    "orders.approved": {
        **_TRACE,
        "tlog-proof": "Inclusion proof of the decision's audit event, with the signed checkpoint.",
        "audit-head": "The event's first bytes: head and verdict together are the leaf.",
    },
    "orders.dead-letter": {
        "dead-letter-reason": "Why it could not be read.",
        "dead-letter-text": "The same in words.",
        "source-topic": "Where it was.",
        "source-offset": "Its offset there.",
    },
    "agents.commands": {
        "signature": "ECDSA P-256 with SHA-256 (DER) over the DSSE encoding of the Avro body.",
        "x5t#S256": "SHA-256 of the person's certificate (DER).",
    },
}


def asyncapi_document(topology: Topology) -> dict[str, Any]:
    """Return the document."""
    parties = sorted({party for topic in topology.topics for party in (*topic.producers, *topic.consumers)})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Portcullis",
            "version": "1",
            "description": "The topics between trading bots, the gate, venues and those who watch. A value with a"
            " schema has Confluent framing: a zero byte, the schema's id in four bytes, the Avro body. One lane is one"
            " partition number in all topics; keys are placed by murmur2, as Kafka's Java client does.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _AVRO,
        "channels": {_identifier(topic.name): _channel(topic) for topic in topology.topics},
        "operations": {
            f"{_identifier(party)}_{verb}_{_identifier(topic.name)}": _operation(verb, party, topic)
            for party in parties
            for topic in topology.topics
            for verb, named in (("sends", topic.producers), ("receives", topic.consumers))
            if party in named
        },
        "components": {"messages": _messages(topology)},
    }


def render_asyncapi(topology: Topology) -> str:
    """Return the document as the file has it."""
    return json.dumps(asyncapi_document(topology), indent=1, ensure_ascii=False) + "\n"


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _channel(topic: TopicSpec) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.purpose} Key: {topic.key}. Kept: {topic.kept}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": [topic.cleanup.value]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation(verb: str, party: str, topic: TopicSpec) -> dict[str, Any]:
    channel = f"#/channels/{_identifier(topic.name)}"
    return {
        "action": "send" if verb == "sends" else "receive",
        "title": f"{party} {verb} {topic.name}",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in _message_names(topic)],
    }


def _message_names(topic: TopicSpec) -> tuple[str, ...]:
    """Return the names of a topic's messages; each topic has its own, as headers and keys differ."""
    schemas = topic.schemas or ("bytes",)
    return tuple(f"{_identifier(topic.name)}__{_identifier(schema)}" for schema in schemas)


def _messages(topology: Topology) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for topic in topology.topics:
        for name, schema in zip(_message_names(topic), topic.schemas or (None,), strict=True):
            messages[name] = _message(topic, schema)
    return messages


def _message(topic: TopicSpec, schema: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": schema or topic.value,
        "title": topic.purpose,
        "contentType": _BYTES if schema is None else _AVRO,
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}},
    }
    if schema is not None:
        document = json.loads(resource(f"schemas/avro/{schema}.avsc").read_text(encoding="utf-8"))
        message["payload"] = {"schemaFormat": _AVRO, "schema": document}
    headers = _HEADERS.get(topic.name)
    if headers is not None:
        properties = {name: {"type": "string", "description": text} for name, text in headers.items()}
        message["headers"] = {"type": "object", "properties": properties}
    return message
