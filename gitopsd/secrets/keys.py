"""What the name of a variable says about its value, and what a value says about itself. Pure."""

import enum
import itertools
import math
import re
from collections import Counter

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A word that makes a name a secret's, wherever it stands in the name.
_SECRET = _words("""apikey authkey authtoken bearer cred creds credential credentials kennwort mypassword passcode passphrase passwd
    password passwords passwort pat pin preshared presharedkey privatekey psk pw pwd secret secretkey secrets token
    tokens totp webhooksecret passwordhash otp mnemonic accesskey accesstoken clientsecret""")
_PHRASES = frozenset(
    (("seed", "phrase"), ("recovery", "phrase"), ("recovery", "code"), ("recovery", "key"), ("auth", "raw"))
)
_WEAK = frozenset(("pin", "pat", "cred", "pw", "pwd", "otp", "totp"))  # only as the last word
_PAIRS = _words("""access account admin api app auth client consumer db deploy encryption license master personal private secret
    service session shared signing ssh storage subscription user webhook wg wireguard""")  # before `key`
# A last word with which the name is about a secret, and the value is not one.
_ABOUT = _words("""age agent algorithm algo asked backend bits cache check chars class cmd command count dir directory duration
    enabled endpoint entry env error exec exp expires expiration expiry field file filename files fingerprint form format
    generator header help helper hint host icon id ids info input interval label language length level lifetime limit
    link location lookup manager max message method min mode model name names number oauth only option page path paths
    pattern placeholder plugin policy port prefix prompt provider reader ref regex required reset retries role rotation
    rule rules salt screen script selector server service size socket source status store strength style suffix text
    timeout title tool tooltip ttl type budget exclude excludes include includes owner group permissions region arn bridge resource repo
    repository branch remote uri url usage use user username uuid validation validator var variable version
    view visibility visible wait warning window hash digest checksum algorithm hashes iterations mapping map""")
# What a word may end in that is written in one, such as `remotepass`; and words that end so and are others.
_ENDS = re.compile(r"\w{2,}(?:password|passwd|passphrase|secret|apikey|pass)")
_OTHERS = _words("bypass compass encompass overpass surpass trespass underpass topsecret")
# What a name begins with that is about what is done, and not about what is kept.
_PREFIXES = _words("""no not has is use show hide forgot reset confirm enter your change min max without ask update generate
    remember copy type toggle validate verify save get fetch list export import print fake dummy mock example sample""")
# Password managers: their names have the word, and what stands after one is a program, a path or a window.
_MANAGERS = re.compile(
    r"(?i)(?:1|one)[-_ ]?password|keepass(?:xc|x|dx)?|lastpass|gopass|passbolt|browserpass|proton[-_]?pass|enpass"
    r"|(?:rofi|qute|wofi|tmux)[-_]pass|passmenu|passage(?![a-z])"
)
_SEALED = _words("encrypted hashed sealed")  # and so is the value
_OPEN = _words(
    "public pub peer anon publishable host foreign primary sort partition cache trusted known"
)  # keys that are none
_PROGRAMMING = frozenset(("count", "limit", "max", "num", "per", "usage", "budget", "window"))

_PLACEHOLDER = re.compile(
    r"""(?ix) ^(?: (?:x|\*|\.|-|_|•|0|\?){3,} | .*(?:change[-_ ]?me|replace[-_ ]?me|your[-_ ]|example|dummy|sample
    |placeholder|redacted|goes[-_ ]?here|[-_]here$|\*{3}removed\*{3}|insert[-_ ]|put[-_ ]your|not[-_ ]?(?:a|the|my)?[-_ ]?(?:real|secret)|fixme|todo|fake|test[-_ ]?only).*
    | \S*(?:…|\*{3,}) | \S{1,20}\.{3}  # cut short
    | <.*> | \[.*\] | (?:my|the|a|some|test|dev|super|top|very|your\w*?)?[-_ ]?(?:secret|password|passwd|pass|token|api[-_]?key|key|passphrase|value|string
    |user|username|login|foo|bar|baz|test|none|null|nil|true|false|yes|no|on|off|ask|prompt|auto|default|always|never
    |undefined|empty|optional|required|enabled|disabled|basic|bearer|digest|oauthbearer|xoauth2|plain|login|cram-md5|scram|pinentry|keyring|gnome-keyring|libsecret
    |keychain|wallet|kwallet|osxkeychain|pass|gopass|system|env|file|hidden|visible)s?\d{0,2}
    | s3cre?t|s3cr3t|sekrit|hunter2|postgres|root|admin|guest|changeit|raspberry  # not with digits: then it is somebody's
    | error|warning|ignore|absent|present )$""",
)
# What a placeholder ends in, and what stands before it then. Other words before it are somebody's: `blue_river_key`.
_CALLED = re.compile(r"[a-z]+(?:[-_][a-z]+)*[-_](?:password|secret|token|key)", re.IGNORECASE)
_BEFORE = _PAIRS | _words("""a bot database demo dev dummy fake github gitlab jwt local login mail mqtt my mysql new oauth old
    passwd password postgres public redis root server smtp some super test the token top very vpn wifi your""")
_SHOUTED = re.compile(
    r"_*[A-Z_]*(?:SECRET|TOKEN|PASSWORD|APIKEY|API_KEY)[A-Z_]*|__[A-Z][A-Z_]+__"
)  # in capitals, for another
# What is typed when something has to stand there.
_FILLER = re.compile(r"(?i)abc_?123|abcdef|0?12345|deadbeef|foobar|qwerty")
# A value that says where the secret is and not what it is.
_REFERENCE = re.compile(
    r"""(?ix) ^(?: \\?\$[\w({\[/'"] | \$$ | %[\w({] | @ | ~ | \./ | \.\./ | / (?:[\w.@-]+/)*[\w.@-]*(?::\w+)*$ | [\w.-]+(?:/[\w.-]+)+\.[a-z]{1,4}(?::\d+)?$ | --[a-z] | \\\( | [a-z]+(?:\|[a-z]+)+$ | [\w./-]*[-/.]\*$
    | (?:[\w+!-]*:){3,}[\w+!.-]*$ | [\w.-]+@[\w.-]+:[\w./~-]+$ | \+[\w.]+\+$ | '?\.\w+\( | [\w.@-]+\.(?:desktop|service|socket|timer|target)$ | \[\^
    | \{(?:env|file|secret|vault|cmd):[^}]*\}?$ | [\w:/.-]*\{[a-z_]+(?:![rsa])?\}?[a-z_:/.-]*$ | \\[nrtswd](?:\W|$) | \\(?:033|e|x1b)\[ | [a-z][\w.-]*:\d{2,5};?$ | !| `|\{\{|<\(| \#\{
    | (?:op|ext|vault|bw|pass|secret|file|env|keyring|ref|aws-?sm|gopass|arn|ssm|gcp|keychain|sops|lastpass|age):
    | [\w.-]+:/[\w./-]+$ | ENC\[\w+, | EJ\[\d: | (?:[a-z]+[:\ ])*\#[0-9a-f]{3,8}(?:\s.*)?$ | sha(?:1|256|384|512)[-:] | md5: | (?:cat|pass|gopass|op|bw|rbw|lpass|secret-tool|security|age|gpg|sops|kubectl
    |vault|aws|gcloud|az|jq|echo|printf|read|source)\s | ssh-(?:rsa|ed25519|dss)\s | ecdsa-sha2 | age1[0-9a-z]{20} |
    lookup\( | https?://[^@]*$ )""",
)
_CALL = re.compile(
    r"[A-Za-z_][\w.:>?-]*[(\[{].*|\([^)]*\)*[;,]?|[a-z_]\w*(?:\??\.\w+)+(?:[!;,]|\+\+|--|\?\?.*)?|\w+(?:::\w+)+(?:::)?|\.[A-Za-z_]+(?:\.[A-Za-z_]+)*(?:\(.*)?"
    r"|self\.\w+|process\.env\.\w+!?|os\.\w+.*|config\.\w+.*"
)
_KEY_COMBINATION = re.compile(
    r"(?i)(?:<?(?:ctrl|control|alt|shift|super|meta|cmd|command|mod\d?|hyper|win|option)>?[+-])+(?:.|f\d{1,2}|[a-z]{2,9})"
    r"|(?:<?[cmsa]-)+.>?"
)
_HASH_OF_PASSWORD = re.compile(
    r"^\$(?:[156y]|2[aby]|7|argon2\w*|scrypt|gy|pbkdf2[\w-]*)\$|^\{(?:(?:SSHA|SHA|CRYPT)|[0-9a-f]{40}\S{8})"
)
# What is a piece of a program, a path, an address or a pattern.
_STRUCTURE = re.compile(
    r"""[\s"'`]|^[$%]?[({][{(]|^\$|\$[\w({]|[({\[].*[)}\]]|://|::|->|/.*/|\\[^nrt]|ENC\[|EJ\[|\.\w+\(|%[\w-]*%|[{}]|(?:\*{3}|\.{3}|…)$"""
)
_AT = re.compile(r"(?P<before>[^@]+)@[a-z][a-z.,-]+")  # `password@host`, `password@read,add`
_UUID = re.compile(r"(?i)^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class Kind(enum.Enum):
    """What a variable is."""

    secret = "secret"  # noqa: S105 - the word
    config = "config"
    undecided = "undecided"


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `clientSecret`, `client-secret` and `CLIENT_SECRET` have the same."""
    return [word.lower() for word in _WORD.findall(name)]


def names_secret(name: str) -> bool:
    """Whether a variable of this name would hold a secret."""
    found = words(_MANAGERS.sub("", name))
    if (
        not found
        or found[-1] in _ABOUT
        or found[-1].removesuffix("s") in _ABOUT
        or found[0] in _PREFIXES
        or _SEALED & set(found)
    ):
        return False
    if found[-1] == "tokens" and set(found) & _PROGRAMMING:
        return False
    if found[:2] == ["password", "store"]:
        return False  # pass's own variables, which name a directory and public keys
    if found == ["pat"] or found[:2] == ["x", "amz"] or found[-2:] == ["key", "code"]:
        return False  # a pattern; parts of a signed address, which ends; a keyboard's
    if any(word in _SECRET and (word not in _WEAK or word == found[-1]) for word in found):
        return True
    if (_ENDS.fullmatch(found[-1]) and found[-1] not in _OTHERS) or tuple(found[-2:]) in _PHRASES:
        return True
    if found[-1] in ("pass", "auth") and (len(found) > 1 or found[-1] == "pass"):
        return True
    return any(word == "key" and before in _PAIRS for before, word in itertools.pairwise(found)) and (
        found[-1] in ("key", "data", "base64", "b64") or found[-2:-1] == ["key"]
    )


def names_key(name: str) -> bool:
    """Whether a variable of this name might hold a key, if its value looks like one."""
    found = words(_MANAGERS.sub("", name))
    return (
        bool(found)
        and not _OPEN & set(found)
        and (
            found[-1] in ("key", "auth", "api", "salt", "seed", "sid", "dsn", "code", "pass", "pat")
            or found[-2:] in (["api", "hash"], ["app", "hash"])  # Telegram's
        )
    )


def names_encrypted(name: str) -> bool:
    """Whether what stands after this name is encrypted, as in systemd's `SetCredentialEncrypted=`."""
    return bool(_SEALED & set(words(name)))


def is_reference(value: str) -> bool:
    """Whether a value says where the secret is, or is a placeholder, and no secret itself."""
    text = value.strip().strip("'\"")
    return bool(
        not text
        or _MANAGERS.fullmatch(text)
        or _SHOUTED.fullmatch(text)
        or _has_row(text)
        or (len(text) >= 12 and max(Counter(text).values()) > 0.6 * len(text))
        or _PLACEHOLDER.match(text)
        or (_CALLED.fullmatch(text) and _BEFORE.intersection(words(text)[:-1]))
        or _REFERENCE.match(text)
        or _HASH_OF_PASSWORD.match(text)
        or _KEY_COMBINATION.fullmatch(text)
        or ((at := _AT.fullmatch(text)) and _PLACEHOLDER.match(at["before"]))
        or len(set(text)) <= 2
        or list(text) == sorted(text)
    )


def is_call(value: str) -> bool:
    """Whether a value that stands without quotes is a piece of a program."""
    return bool(_CALL.fullmatch(value))


def is_uuid(value: str) -> bool:
    """Whether a value is a UUID (RFC 9562)."""
    return bool(_UUID.match(value))


def entropy(value: str) -> float:
    """Shannon's entropy of the characters, in bits for each."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())


def looks_random(value: str, *, least: int = 16) -> bool:
    """Whether a value looks like made by a machine: long, of letters and digits, and without order."""
    if len(value) < least or not re.fullmatch(r"[A-Za-z0-9+/=_.~-]+", value) or is_reference(value):
        return False
    kinds = sum(bool(re.search(pattern, value)) for pattern in (r"[a-z]", r"[A-Z]", r"\d"))
    return kinds >= 2 and entropy(value) >= (3.0 if re.fullmatch(r"[0-9a-fA-F]+", value) else 3.4)


def _has_row(text: str) -> bool:
    """Whether eight characters follow each other as they do in the alphabet."""
    length = 1
    for one, other in itertools.pairwise(text):
        length = length + 1 if ord(other) == ord(one) + 1 else 1
        if length == 8:
            return True
    return False


def is_example(token: str) -> bool:
    """Whether what has the form of a token is one of a manual."""
    return "example" in token.lower() or _has_row(token)


def is_filler(value: str) -> bool:
    """Whether a value has in it what nobody would get from a machine, and many write into examples."""
    return bool(_FILLER.search(value))


def is_words(value: str) -> bool:
    """Whether a value is made of words, as names are: `EnableStandardClick`, `hs_spaces_2`."""
    found = [word for word in words(value) if not word.isdigit()]
    return (
        bool(found)
        and sum(map(len, found)) >= 3.4 * len(found)
        and all(re.search(r"[aeiouy]", word) for word in found if len(word) > 3)
    )


def looks_chosen(value: str) -> bool:
    """Whether a value is letters, digits and signs so mixed that nothing is named so, whatever it begins with.

    What says where a secret is, is made of words: `$DB_PASSWORD`, `(getpass)`, `--stdin`, `@file`.
    """
    if len(value) < 6 or _STRUCTURE.search(value) or _HASH_OF_PASSWORD.match(value) or is_uuid(value.strip("{}")):
        return False
    kinds = [kind for kind, _ in itertools.groupby(value, _kind_of) if kind]
    return len(kinds) > 3 and {"letter", "digit"} <= set(kinds) and not is_example(value) and not is_filler(value)


def _kind_of(sign: str) -> str:
    """What a character counts as where letters and digits follow each other; nothing if names have it."""
    if sign.isalpha():
        return "letter"
    return "digit" if sign.isdigit() else "sign" if sign in "!#%&*+,;?@^|~" else ""


def looks_made_up(value: str) -> bool:
    """Whether a value that stands without any sign after a name is a password, and no word or number."""
    if len(value) < 8 or is_reference(value) or is_call(value):
        return False
    return bool(re.search(r"[A-Za-z]", value) and re.search(r"\d|[!#$%&*+?@^]", value)) and not is_uuid(value)
