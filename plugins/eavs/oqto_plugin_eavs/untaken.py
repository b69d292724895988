"""Why a provider was not taken: what is wrong, as a code that an interface may build on."""

from __future__ import annotations

from oqto_platform.errors import Invalid


class ProviderKeyRefused(Invalid):
    """The provider does not accept the API key."""

    code, title = "provider-key-refused", "API key not accepted"


class ProviderNoCredit(Invalid):
    """The provider accepts the key, but its account has no credit."""

    code, title = "provider-no-credit", "No credit at the provider"


class ProviderUnreachable(Invalid):
    """Nothing answers at the address, as seen from this server."""

    code, title = "provider-unreachable", "Provider unreachable from here"


class ProviderNotAnApi(Invalid):
    """Something answers at the address, but not the API of a provider."""

    code, title = "provider-not-an-api", "Not a model API"


class ProviderFailing(Invalid):
    """The provider answers, and with an error of its own."""

    code, title = "provider-failing", "Provider fails"


class ProviderModels(Invalid):
    """The provider works, but has none of the models that could be used."""

    code, title = "provider-models", "No usable model"


class ModelUnpriced(Invalid):
    """The price of a model is not known, so its use could not be billed."""

    code, title = "model-unpriced", "Price not known"
