"""Build the distribution ``requests-tokenkit``; its version stands in ``tokenkit/__init__.py`` alone."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
HOME = "https://github.com/requests-tokenkit/requests-tokenkit"


def version() -> str:
    text = (HERE / "tokenkit" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?:: str)? = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("tokenkit/__init__.py has no line __version__ = '...'")
    return found[1]


DJANGO = ["django>=4.2"]
REDIS = ["redis>=5"]
KEYRING = ["keyring>=24"]
CRYPTO = ["cryptography>=41", "PyJWT>=2.8"]
PROMETHEUS = ["prometheus-client>=0.19"]
OPENTELEMETRY = ["opentelemetry-api>=1.30"]

# pytest: the reference shows its fixtures.
DOCS = ["sphinx>=7.4", "furo>=2024.8.6", "sphinx-copybutton>=0.5.2", "pytest>=8.3"]
TEST = [
    *DJANGO,
    *REDIS,
    *KEYRING,
    *CRYPTO,
    *PROMETHEUS,
    *OPENTELEMETRY,
    "opentelemetry-sdk>=1.30",
    # The runner.
    "coverage[toml]>=7.13",
    "pytest>=8.3",
    "pytest-randomly>=3.16",
    "pytest-timeout>=2.3.1",
    "pytest-xdist>=3.6",
    # What the tests talk through and to.
    "authlib>=1.6",
    "django-oauth-toolkit>=3.4",  # the first with metadata (RFC 8414)
    "django-redis>=5.4",
    "flask>=3",
    "gunicorn>=23",
    "hypothesis>=6.100",
    "packaging>=24",
    "pymemcache>=4",
    "pyuwsgi>=2.0.26; sys_platform == 'linux' and python_version < '3.15'",
    "requests-cache>=1.3",  # the first whose refresh=True goes with stale_if_error
    "requests-toolbelt>=1",
    "responses>=0.25.3",
    "time-machine>=3",  # the first that leaves time.monotonic() alone
    # What takes the place of the network in users' tests.
    "betamax>=0.9",
    "mocket>=3.13.3",
    "pyOpenSSL>=23.2",
    "requests-mock>=1.12.1",
    "requests-unixsocket>=0.4",
    "vcrpy>=7",
    "wsgi-intercept>=1.13.1",
]

setup(
    name="requests-tokenkit",
    version=version(),
    description="Bearer tokens for requests: fetched in steps, renewed ahead of expiry, shared safely.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The requests-tokenkit maintainers",
    url=HOME,
    project_urls={
        "Documentation": "https://requests-tokenkit.readthedocs.io/",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
        "Source": HOME,
        "Issues": f"{HOME}/issues",
        "Security": f"{HOME}/security/policy",
    },
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="requests oauth2 bearer token authentication refresh threads",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: 3.15",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: Internet :: WWW/HTTP :: Session",
        "Topic :: Security",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["tokenkit", "tokenkit.*"]),
    package_data={"tokenkit": ["py.typed", "**/*.pyi"]},
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "requests>=2.32.3",
        "urllib3>=2.0.2",
        "filelock>=3.30",
        'tomli>=2; python_version < "3.11"',
    ],
    extras_require={
        "django": DJANGO,
        "redis": REDIS,
        "keyring": KEYRING,
        "crypto": CRYPTO,
        "prometheus": PROMETHEUS,
        "opentelemetry": OPENTELEMETRY,
        "docs": DOCS,
        "test": TEST,
    },
    entry_points={
        "console_scripts": ["tokenkit = tokenkit.cli:main"],
        "pytest11": ["tokenkit = tokenkit.testing.plugin"],
    },
)
