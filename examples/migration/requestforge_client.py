"""From requestforge: its client becomes a session, hook an auth, provider a fetcher."""


def before(base_url, token_url):
    from requestforge import (
        ClientCredentialsTokenProvider,
        HttpClient,
        HttpClientConfigBuilder,
        TokenManager,
    )

    provider = ClientCredentialsTokenProvider(
        token_url, "client", "secret", "orders", auth_method="body"
    )
    config = (
        HttpClientConfigBuilder()
        .with_base_url(base_url)
        .with_timeout(10)
        .with_token_auth(TokenManager(provider))
        .build()
    )
    return HttpClient(config)


def after(base_url, token_url):
    from tokenkit import AuthorizedSession, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url,
        client_id="client",
        client_secret="secret",
        client_auth="client_secret_post",
    )
    return AuthorizedSession(fetcher, base_url=base_url, timeout=10)
