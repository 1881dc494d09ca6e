"""The interface described for others: OpenAPI 3.1, built from the same patterns and problems that the handlers use."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from streams.core.documents import MARKET, MIC, REGION
from streams.core.orders import MsgType, Side, TimeInForce, TradingState
from streams.enforcer.documents import BODY_BYTES_MAX, CL_ORD_ID, PRICE, QUANTITY
from streams.enforcer.problems import MEDIA_TYPE, PROBLEMS, REASON_STATUS, TYPE_PREFIX, Decision, Problem

_EXAMPLE: Final = {
    "symbol": "BTC_USDT",
    "side": "BUY",
    "order_qty": "0.001",
    "ex_destination": "XOFF",
    "region": "eu-west-1",
}
_STRING: Final = {"type": "string"}
_AMOUNT: Final = {"type": ["string", "null"], "description": "Decimal text."}
_ASKED: Final = (Problem.CERTIFICATE_REQUIRED, Problem.CERTIFICATE_REFUSED, Problem.NOT_YOUR_BOT)
_AT_ORDERS: Final = tuple(
    problem for problem in Problem if problem not in {Problem.NOT_FOUND, Problem.METHOD_NOT_ALLOWED}
)


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis enforcer",
            "version": "1",
            "description": "A bot's orders over HTTPS. Only an answer with status 200 is an approval; every other"
            " answer, a time-out and a broken connection are none. The bot proves itself with its certificate (mTLS).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"certificate": []}],
        "paths": {
            "/v1/orders": {"post": _submit()},
            "/v1/orders/{cl_ord_id}": {"get": _get("order", "An order sent here", "cl_ord_id", CL_ORD_ID.pattern)},
            "/v1/agents/{agent_id}": {"get": _get("agent", "A bot's own state", "agent_id", "[A-Za-z0-9._-]{1,64}")},
            "/v1/agents/{agent_id}/limits": {
                "get": _get("limits", "A bot's own limits", "agent_id", "[A-Za-z0-9._-]{1,64}")
            },
        },
        "components": {
            "securitySchemes": {
                "certificate": {"type": "mutualTLS", "description": "The bot's certificate, by the third-party CA."}
            },
            "schemas": {
                "order": _order(),
                "verdict": _verdict(),
                "problem": _problem(),
                "submission": _submission(),
                "agent": _agent(),
                "limits": {"type": "object", "description": "The policy's limits, amounts as decimal text."},
            },
        },
    }


def _submit() -> dict[str, Any]:
    return {
        "operationId": "submit",
        "summary": "Sign an order in the bot's name, send it, answer with its verdict",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "The same key and body get the same answer and make one order.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {BODY_BYTES_MAX} bytes.",
            "content": {"application/json": {"schema": _ref("order"), "example": _EXAMPLE}},
        },
        "responses": {
            "200": _answer("Approved, and proven to be in the audit log.", "verdict"),
            **_problems(_AT_ORDERS, *(str(status) for status in REASON_STATUS.values())),
        },
    }


def _get(name: str, summary: str, parameter: str, pattern: str) -> dict[str, Any]:
    schema = {"order": "submission"}.get(name, name)
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [
            {
                "name": parameter,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": f"^{pattern}$"},
            }
        ],
        "responses": {"200": _answer(f"{summary}.", schema), **_problems((*_ASKED, Problem.NOT_FOUND))},
    }


def _problems(problems: tuple[Problem, ...], *statuses: str) -> dict[str, Any]:
    """Return the responses of these problems, by status; `statuses`: those of the gate's reasons besides."""
    texts: dict[str, list[str]] = {status: ["The gate rejected the order"] for status in statuses}
    for problem in problems:
        rule = PROBLEMS[problem]
        texts.setdefault(str(rule.status), []).append(f"{rule.title} (`{TYPE_PREFIX}{problem}`)")
    content = {MEDIA_TYPE: {"schema": _ref("problem")}}
    return {status: {"description": "; ".join(titles), "content": content} for status, titles in sorted(texts.items())}


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(pattern: str, description: str) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{pattern}$", "description": description}


def _choice(choices: type[MsgType | Side | TimeInForce | Decision | TradingState], description: str) -> dict[str, Any]:
    return {"type": "string", "enum": [choice.value for choice in choices], "description": description}


def _order() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["symbol", "side", "order_qty", "ex_destination", "region"],
        "properties": {
            "cl_ord_id": _text(CL_ORD_ID.pattern, "FIX ClOrdID(11); derived from the Idempotency-Key where left out."),
            "orig_cl_ord_id": _text(CL_ORD_ID.pattern, "FIX OrigClOrdID(41), of a replacement or cancellation."),
            "msg_type": _choice(MsgType, "FIX MsgType(35); NEW_ORDER_SINGLE where left out."),
            "symbol": _text(MARKET.pattern, "FIX Symbol(55)."),
            "side": _choice(Side, "FIX Side(54)."),
            "order_qty": _text(QUANTITY.pattern, "FIX OrderQty(38), decimal text above 0."),
            "price": _text(PRICE.pattern, "FIX Price(44), decimal text above 0; at the market where left out."),
            "time_in_force": _choice(TimeInForce, "FIX TimeInForce(59); DAY where left out."),
            "ex_destination": _text(MIC.pattern, "FIX ExDestination(100), the venue's MIC."),
            "region": _text(REGION.pattern, "Where the bot runs."),
        },
    }


def _verdict() -> dict[str, Any]:
    failure = {
        "type": "object",
        "required": ["reason", "limit", "observed", "unit"],
        "properties": dict.fromkeys(("reason", "limit", "observed", "unit"), _STRING),
    }
    return {
        "type": "object",
        "required": ["decision", "agent_id", "cl_ord_id", "reason", "failures", "log_index"],
        "properties": {
            "decision": _choice(Decision, "The outcome."),
            "agent_id": _STRING,
            "cl_ord_id": _STRING,
            "reason": _STRING,
            "failures": {"type": "array", "items": failure},
            "order_value_eur": _AMOUNT,
            "daily_value_eur": _AMOUNT,
            "score": {"type": ["number", "null"]},
            "request_time": _STRING,
            "decision_time": _STRING,
            "log_index": {"type": "integer"},
            "proof": {
                "type": "object",
                "description": "Where the audit log has the approval; checked before it is shown.",
                "required": ["origin", "index", "tree_size"],
                "properties": {
                    "origin": _STRING,
                    "index": {"type": "integer"},
                    "tree_size": {"type": "integer"},
                },
            },
        },
    }


def _problem() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457; none of these is an approval.",
        "required": ["type", "title", "status", "decision"],
        "properties": {
            "type": {"type": "string", "enum": [TYPE_PREFIX + problem for problem in Problem]},
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "decision": {"type": "string", "enum": [Decision.REJECTED.value, Decision.UNKNOWN.value]},
            "reason": {**_STRING, "description": "Stable code: one of topology/gate.md, or of the problem itself."},
            "cl_ord_id": _STRING,
            "errors": {"type": "array", "items": _STRING},
            "verdict": _ref("verdict"),
        },
    }


def _submission() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["cl_ord_id", "decision", "timed_out", "verdict"],
        "properties": {
            "cl_ord_id": _STRING,
            "decision": _choice(Decision, "As it was answered: an order that timed out stays UNKNOWN."),
            "timed_out": {"type": "boolean"},
            "verdict": {"anyOf": [_ref("verdict"), {"type": "null"}], "description": "Also one that came too late."},
            "cancel_cl_ord_id": {"type": ["string", "null"], "description": "The cancellation sent at a time-out."},
        },
    }


def _agent() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["agent_id", "registered", "trading_state", "usage", "through_this_enforcer"],
        "properties": {
            "agent_id": _STRING,
            "registered": {"type": "boolean"},
            "trading_state": _choice(TradingState, "ACTIVE trades; REDUCING and HALTED do not."),
            "limits": _ref("limits"),
            "usage": {
                "type": "object",
                "properties": {"daily_value_eur": _AMOUNT, "score": {"type": ["number", "null"]}},
            },
            "through_this_enforcer": {"type": "object"},
        },
    }
