"""How kopf is set up."""

from itertools import islice

import kopf

from backstay.handlers.app import configure


def test_kopf_never_gives_up_on_the_api_server_and_never_asks_it_without_a_pause() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    backoffs = settings.networking.error_backoffs
    assert not hasattr(backoffs, "__len__")
    for _ in range(2):  # each request begins anew
        pauses = list(islice(backoffs, 1000))  # type: ignore[arg-type]
        assert len(pauses) == 1000
        assert min(pauses) >= 1
        assert max(pauses) <= 5, "an API server that is back is noticed late"
