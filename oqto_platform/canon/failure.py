"""Why a model gave no answer, as codes that programs and interfaces may depend on."""

from __future__ import annotations

from typing import Literal

ModelFailure = Literal[
    "provider-key-refused",
    "provider-refused",
    "provider-no-credit",
    "budget-exceeded",
    "model-unknown",
    "request-too-large",
    "provider-slow-down",
    "provider-overloaded",
    "provider-unavailable",
    "provider-unreachable",
    "provider-failed",
    "provider-error",
    "connection-lost",
]

MODEL_FAILURES: dict[ModelFailure, str] = {
    "provider-key-refused": "The model provider does not accept the key",
    "provider-refused": "The model provider refused the request",
    "provider-no-credit": "The account at the model provider has no credit",
    "budget-exceeded": "The money set aside for models is used up",
    "model-unknown": "The model provider does not know this model",
    "request-too-large": "The request is too large for the model",
    "provider-slow-down": "The model provider asks to slow down",
    "provider-overloaded": "The model provider is overloaded",
    "provider-unavailable": "The model provider is not available",
    "provider-unreachable": "The model provider cannot be reached",
    "provider-failed": "The model provider failed",
    "provider-error": "The model provider answered with an error",
    "connection-lost": "The connection to the model provider broke off",
}
