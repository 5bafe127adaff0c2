"""What a secret looks like, and chezmoi's data: pure."""

import gzip
import io
import time
import traceback
import zipfile

import pytest

from gitopsd.errors import Failed
from gitopsd.secrets import data, decisions, keys, rules
from gitopsd.secrets.audit import propose
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.views import views
from gitopsd.tools.chezmoi import without_excerpts


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "smtp_pass",
            "API_KEY",
            "clientSecret",
            "oauth-token",
            "wifi.psk",
            "tokens.forge",
            "adminPassword",
        ),
        *("remotepass", "rootpassword", "seed_phrase", "recovery-code"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert keys.names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "password_file",
        "passwordCommand",
        "max_tokens",
        "token_count",
        "compass",
        "bypass",
        "overpass",
        "PASSWORD_STORE_KEY",
        "key",
        "tokenizer",
        "secret_id",
    ],
)
def test_names_that_are_about_secrets_or_of_something_else(name: str) -> None:
    assert not keys.names_secret(name)


def lines(text: str, path: str = "dot_x") -> list[int]:
    return [hit.line for hit in rules.scan(path, text.encode())]


def test_what_all_scanners_were_seen_to_miss_is_found() -> None:
    assert lines('{{ if .a }}smtp_pass = "hunter2hunter2"{{ end }}') == [1]
    assert lines('x\ndb_password = "kqLd83js9Lks8djk2A"') == [2]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("smtp:\n  password: >-\n    hunter2hunter2\n  port: 465\n", 3),
        ('{"password":\n  "hunter2hunter2"}\n', 2),
        ("export PASSWORD=\\\nhunter2hunter2\n", 2),
        ("//nas/x /mnt cifs username=rain,password=hunter2hunter2,uid=1000 0 0\n", 1),
        ("db = { password = [[hunter2hunter2]] }\n", 1),
        ("adminPassword = ''hunter2hunter2'';\n", 1),
        ('{{ template "x" (dict "user" "rain" "password" "hunter2hunter2") }}\n', 1),
        ("echo 'hunter2hunter2' | sudo -S true\n", 1),
        ("GRANT ALL ON x TO y IDENTIFIED BY 'hunter2hunter2';\n", 1),
    ],
)
def test_forms_that_a_value_takes(text: str, line: int) -> None:
    assert lines(text) == [line]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dot_zshenv", "export MPD_HOST=hunter2hunter2@nas"),
        ("vpn", "echo hunter2hunter2 | sudo openconnect --passwd-on-stdin host"),
        ("rdp", "xfreerdp /v:host /u:rain /p:hunter2hunter2"),
        ("x.exp", 'expect "*assword:" { send "hunter2hunter2\\r" }'),
        ("dot_lftprc", "open -u rain,hunter2hunter2 ftp.example.org"),
        ("x.py", 'smtp.login("rain@x", "hunter2hunter2")'),
        ("dot_msmtprc", "password abcdefxyzw"),
        ("config", 'autosendcmd = "/msg nickserv identify rain hunter2hunter2; wait 20";'),
        ("catgirl", "sasl-plain = rain:hunter2hunter2"),
        ("args.json", '"args": ["--api-key", "ctx7-hunter2hunter2"]'),
        ("weather", "curl 'https://x.org/?q=Berlin&appid=0a1b93c4d5e6f708192a3b4c5d6e7f80'"),
        ("NOTES.md", "The wifi is Fern, password `hunter2hunter2`."),
        ("private_dot_vault_pass.txt", "hunter2hunter2"),
        ("dot_davfs2/private_secrets", "https://x.org/dav rain hunter2hunter2"),
        ("dot_config/deluge/auth", "localclient:0a1b93c4d5e6f708192a3b4c5d6e7f80:10"),
        ("dot_config/openvpn/auth.txt", "hunter2hunter2"),
        ("dot_vault_pass", "maplecobalt"),
        ("env.nu", '$env.MISTRAL_API_KEY = "pLfLsIvtu8Nd5z6cgXPXH3taRrB9QvQQ"'),
        ("x.php", "$password = 'hunter2hunter2';"),
        ("config.toml", 'backend.auth.raw = "JjYD5SXTxTzzyXgAC"'),
        ("gradle.properties", "ossrhPassword=mWIQIfV00gV=LESu"),
        ("dot_offlineimaprc", "remotepass = maplecobalt"),
        ("dot_gitcookies", ".x.org\tTRUE\t/\tTRUE\t2147483647\to\tgit-rain=1//0fOhbpf7jBucgJI52CgHscsYqS"),
    ],
)
def test_where_programs_are_given_a_password(path: str, text: str) -> None:
    assert lines(text, path) == [1]


def test_an_option_in_a_list_has_its_value_in_the_next_line() -> None:
    assert lines('[\n  "--api-key",\n  "ctx7-hunter2hunter2"\n]') == [3]
    assert lines("args:\n- --api-key\n- ctx7-hunter2hunter2") == [3]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dot_netrc.tmpl", 'machine x login y password {{ pass "x" }}\nmachine z\n'),
        ("dot_netrc", "# the password is in the manager"),
        ("tasks.yml", "update_password: on_create"),
        ("s.yaml", "password: !secret mqtt_password"),
        ("x.service", "SetCredentialEncrypted=token: hT9xk2PqLm4Zs8Vw1Rb7Yc3Nd6Gf5Jh0"),
        ("k.yaml", "kind: SealedSecret\nspec:\n  encryptedData:\n    password: hT9xk2PqLm4Zs8Vw1Rb7Yc3Nd6Gf5Jh0"),
        ("s.ejson", '"token": "EJ[1:hT9xk2PqLm4Zs8Vw1Rb7Yc3Nd6Gf5Jh0]"'),
        ("colors.lua", 'token = "#c0caf5", pass = "bold #ff0000"'),
        ("rofi", 'type_pass="Control+Alt+p"'),
        ("mimeapps.list", "x-scheme-handler/onepassword=1password.desktop"),
        ("i18n/de.json", '{"token": "Zugangstoken"}'),
        ("dot_zsh_plugins.txt", "romkatv/powerlevel10k pin:604f19a9eaa18e76db2e60b8d446d5f879065f90"),
        ("x.vim", "let pat = '^\\%(\\w\\+://\\)'"),
        ("x.yml", "access-tokens = github.com=${{ secrets.GITHUB_TOKEN }}"),
        ("dot_npmrc.tmpl", '//r.org/:_authToken={{ pass "x" }}\n//s.org/:_authToken={{ pass "y" }}\n'),
        ("x.json", '"TOKEN": "{env:BRAVE_API_KEY}"'),
        ("x.ts", "const token = process.env.GITHUB_TOKEN!;"),
        ("README.md", 'export GITHUB_TOKEN="ghp_…" or "ghp_..." or YOURAPIKEY'),
        ("README.md", "![](https://codecov.io/badge.svg?token=4VUJWKGAR7)"),
        ("x.sh", "gpg --list-secret-keys --keyid-format=long 2>/dev/null"),
        ("x.sh", '_pass "v1_schema_present"'),
        ("dot_gitconfig", '[credential "helperselector"]'),
        ("pins.yaml", "key: EnableStandardClickToShowDesktop"),
        ("nginx.conf", "proxy_pass backend:8022;"),
        ("x.sh", "local _auth=\nlocal _quote=\n"),
        ("x.sh", 'nix run --access-tokens "github.com=$access_token"'),
        ("x.yml", "*.secrets=id=github_token,src=/tmp/github_token"),
        ("x.nix", 'LoadCredential = "loki-password:${passwordFile}";'),
        ("x.nix", 'locations."/".proxyPass = "http://@prometheus/";'),
        ("x.py", 'add_argument("--token", default=None, action="store_true")'),
        ("x.py", "user, password = ELASTIC_AUTH"),
        ("help", "  --password       Mawaqit password"),
        ("help", 'die "usage: x [--tokens N|dynamic]"'),
        ("ciphers", 'exclude = "aNULL:RC4:PSK:aECDH:EDH-DSS-DES-CBC3-SHA:KRB5-DES:CAMELLIA"'),
        ("x.rs", '"token": "sk-abcdefghijklmnopqrstuvwxyz123456"'),
        ("x.yml", "url: postgres://app:app@localhost:5432/app"),
    ],
)
def test_what_only_looks_so(path: str, text: str) -> None:
    assert not lines(text, path)


def test_what_only_follows_a_name_is_not_its_value() -> None:
    assert not lines("secrets:\n  db_password:\n    file: /run/secrets/x\n")
    assert not lines("tokens:\n  - one\n")
    assert not lines('{{ keyring "password" "hunter2hunter2" }}')


@pytest.mark.parametrize(
    "piece",
    [
        "{{",
        "a.b-",
        "cookie: a=b; ",
        "https://",
        '"kty":',
        "password ",
        "a='",
        "x" * 19_999 + "\n",
        "aaaa",
        "<",
        '"',
        " ",
        *("open ", "freerdp ", "nickserv identify ", "assword", "auth('", "MPD_HOST ", "a/", "?a=", "http://a", "${a"),
        *("\n", "kind: SealedSecret\nencryptedData:\n", "[a ", "--key\n"),
    ],
)
def test_no_file_takes_the_rules_longer_than_its_length_allows(piece: str) -> None:
    began = time.process_time()
    rules.scan("dot_netrc", (piece * (60_000 // len(piece))).encode())
    assert time.process_time() - began < 60  # what grows with the square takes many minutes


def test_a_value_in_a_very_long_line_is_found() -> None:
    text = "{" + ",".join(f'"k{number}": "v{number}"' for number in range(4000)) + ', "password": "hunter2hunter2"}'
    assert lines(text) == [1]


def test_what_only_looks_encrypted_is_looked_at() -> None:
    armor = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5\n-----END AGE ENCRYPTED FILE-----\n"
    assert not lines(armor)
    assert lines(f"{armor}password = hunter2hunter2\n") == [4]
    assert lines("$ANSIBLE_VAULT;1.1;AES256\n6338\npassword = hunter2hunter2\n") == [3]
    assert lines('password: "ENC[hunter2hunter2]"\n') == [1]
    assert not lines("password: ENC[AES256_GCM,data:aGk=,iv:aGk=,tag:aGk=,type:str]\n")


def test_the_texts_of_a_file() -> None:
    text = "password = hunter2hunter2\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/.env", text * 3)
    for content in (
        text.encode(),
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        text.encode("utf-32"),
        gzip.compress(text.encode()),
        gzip.compress(text.encode("utf-16")),
        packed.getvalue(),
        b"x\0" + text.encode() * 20,
    ):
        (seen,) = views(content)
        assert b"hunter2hunter2" in seen.text
        assert seen.is_text
    (seen,) = views(bytes(range(256)) + text.encode() + bytes(500))
    assert b"hunter2hunter2" in seen.text
    assert not seen.is_text
    assert "hunter2" not in repr(seen)


def test_what_is_packed_a_thousandfold_fills_no_memory() -> None:
    (seen,) = views(gzip.compress(gzip.compress(bytes(40_000_000))))
    assert len(seen.text) <= 16 * 1024 * 1024
    assert views(b"PK\x03\x04 and then nothing \0") == ()
    assert len(views(b"\x1f\x8b and then nothing")) == 1


def test_a_template_that_says_where_the_secret_is_has_none() -> None:
    assert not lines('password = "{{ onepasswordRead "op://Personal/mail/password" }}"')
    assert not lines('password = "{{ include "/run/secrets/x" | trim }}"')


def test_a_file_that_sops_yaml_says_is_encrypted_and_is_not() -> None:
    patterns = rules.encryption_rules(b"creation_rules:\n  - path_regex: secrets/[^/]+\\.yaml$\n    age: age1x\n")
    plain, encrypted = b"a: 1\n", b"a: ENC[AES256_GCM,data:x]\nsops:\n    mac: x\n"
    assert [hit.rule for hit in rules.scan("secrets/a.yaml", plain, must_be_encrypted=patterns)] == ["not-encrypted"]
    assert not rules.scan("secrets/a.yaml", encrypted, must_be_encrypted=patterns)
    assert not rules.scan("other/a.yaml", plain, must_be_encrypted=patterns)


def test_a_variable_that_the_person_decided_is_a_secret_counts_in_the_data() -> None:
    raw = b"pets:\n  first: rex-and-bello\n"
    assert not rules.scan(".chezmoidata.yaml", raw)
    (hit,) = rules.scan(".chezmoidata.yaml", raw, is_secret={"pets.first"}.__contains__)
    assert (hit.line, hit.rule) == (2, "secret-in-chezmoidata")


def test_a_hit_does_not_show_its_value() -> None:
    (hit,) = rules.scan("x", b"password = hunter2hunter2\n")
    assert "hunter2" not in repr(hit)
    assert "hunter2" not in f"{hit}"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("{{ .a }}", '{{ include "/s" | trim }}'),
        ("{{- $.a -}}", '{{- include "/s" | trim -}}'),
        ("{{ .a | quote }}", '{{ (include "/s" | trim) | quote }}'),
        ('{{ printf "%s .a" .a }}', '{{ printf "%s .a" (include "/s" | trim) }}'),
        ("{{ .ab }} {{ .b.a }} .a", "{{ .ab }} {{ .b.a }} .a"),
        ('{{ index . "a" }}', '{{ include "/s" | trim }}'),
        ("{{- index $ `a` | quote -}}", '{{- (include "/s" | trim) | quote -}}'),
        ('{{ index . "a" "b" }} {{ index .x "a" }}', '{{ index . "a" "b" }} {{ index .x "a" }}'),
    ],
)
def test_a_variable_is_replaced_where_it_is_used_and_nowhere_else(action: str, expected: str) -> None:
    assert data.rewritten(action, {"a": 'include "/s" | trim'}) == expected


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("x.yaml", "a: 1\nb:\n  c: 2  # two\n  d: 3\ne: 4\n", "a: 1\nb:\n  d: 3\ne: 4\n"),
        ("x.yaml", "b:\n  c: |\n    one\n    two\n  d: 3\n", "b:\n  d: 3\n"),
        ("x.toml", 'a = 1\n[b]\nc = "x"\nd = 2\n', "a = 1\n[b]\nd = 2\n"),
        ("x.toml", '[b]\nc = """one\ntwo"""\nd = 2\n', "[b]\nd = 2\n"),
        ("x.toml", 'x = 1\n[b]\n"c" = 2\nd = 3\n', "x = 1\n[b]\nd = 3\n"),
        ("x.json", '{"b": {"c": 1, "d": 2}}', '{\n  "b": {\n    "d": 2\n  }\n}\n'),
    ],
)
def test_one_variable_leaves_a_file_and_the_rest_stays(path: str, before: str, after: str) -> None:
    assert data.without(path, before.encode(), "b.c").decode() == after


def test_the_audit_proposes_with_evidence() -> None:
    assert propose("acoustid_api", ["Ab3dE9fGh1"], [])[0] is Kind.secret
    assert propose("lastfm", ["b25b959554ed76058ac220b7b2e0a026"], [("dot_x.tmpl", 3, "  api_key = ")])[1] == (
        "dot_x.tmpl:3 gives it to `api_key`",
    )
    assert propose("email_personal", ["rain@example.org"], [])[0] is Kind.undecided
    assert propose("desktop", [True], [])[0] is Kind.config
    assert propose("name", ["Rain"], [])[0] is Kind.config


@pytest.mark.parametrize(
    "value", ["raspberry77", "admin1", "root1987", "password123", "supersecret123", "s3cret-garden"]
)
def test_a_word_of_manuals_with_something_of_somebodys_added_is_a_password(value: str) -> None:
    assert lines(f"password = {value}\n") == [1]


@pytest.mark.parametrize("value", ["raspberry", "admin", "changeit", "password", "hunter2"])
def test_what_only_manuals_and_defaults_have_is_none(value: str) -> None:
    assert lines(f"password = {value}\n") == []


@pytest.mark.parametrize(
    "mark", ["(", "\\n", "--", "-", "@", "!", "~", "/", "<", "|", ",", ";", "&", ")", "#", "%", "age:"]
)
@pytest.mark.parametrize("form", ["password = {}", "DB_PASSWORD={}", "  password: {}", '"password": "{}",'])
def test_a_password_may_begin_with_any_sign(mark: str, form: str) -> None:
    assert lines(form.format(f"{mark}kq7wR2m9")) == [1]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "(",
            "()",
            "(getpass)",
            "(str, None)",
            "\\n",
            "--",
            "--stdin",
            "--password-file=x",
            "@file",
            "~/x",
            "</dev/null",
        ),
        *("$PASSWORD", "${db_password}", "%(password)s", "env.R2_SECRET_KEY", "Pj5T8k****", "x.b64Std,", "(?:a1b2c3)"),
    ],
)
def test_what_says_where_a_password_comes_from_is_none(value: str) -> None:
    assert lines(f"password = {value}\n") == []


@pytest.mark.parametrize("value", ["river_token", "blue_river_key", "garden-secret", "correct-horse-battery-staple"])
@pytest.mark.parametrize("form", ["password = {}", 'password = "{}"', "SMTP_PASS={}", '"passphrase": "{}"'])
def test_words_are_a_password_too(value: str, form: str) -> None:
    assert lines(form.format(value)) == [1]


@pytest.mark.parametrize(
    "value", ["api_token", "access-token", "db_password", "your_secret_key", "my-token", "auth_key"]
)
def test_what_a_secret_is_called_is_none(value: str) -> None:
    assert lines(f"password = {value}\n") == []
    assert lines(f'password = "{value}"\n') == []


def test_a_variable_in_a_list_has_a_name_and_one_with_a_dot_is_no_other_ones() -> None:
    tree = {"accounts": [{"password": "x"}, {"user": "y"}], "colors": ["a"], "my.token": "z", "my": {"token": "t"}}
    assert data.leaves(tree) == {
        "accounts.0.password": "x",
        "accounts.1.user": "y",
        "colors": ["a"],
        '"my.token"': "z",
        "my.token": "t",
    }
    assert data.keys_of('a."my.token".b') == ["a", "my.token", "b"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("x.yaml", "\"my.token\": kQ7v\nmy:\n  token: 1\n'it is': 2\n"),
        ("x.toml", '"my.token" = "kQ7v"\n[my]\ntoken = 1\n'),
        ("x.json", '{\n  "my.token": "kQ7v",\n  "my": {\n    "token": 1\n  }\n}\n'),
    ],
)
def test_a_name_with_a_dot_leaves_a_file_alone(path: str, text: str) -> None:
    kept = data.without(path, text.encode(), '"my.token"').decode()
    assert kept == "\n".join(line for line in text.split("\n") if "kQ7v" not in line)
    assert data.rewritten('{{ index . "my.token" }} {{ .my.token }}', {'"my.token"': "x"}) == "{{ x }} {{ .my.token }}"


def test_what_chezmoi_says_has_nothing_of_a_file_in_it() -> None:
    said = (
        "chezmoi: x.yaml: [3:7] sequence end token ']' not found\n   1 | name: x\n>  2 | mail: [ {password: kQ7vR2m }\n"
        "             ^\n   3 | b: kQ7vR2m"
    )
    assert without_excerpts(said) == "chezmoi: x.yaml: [3:7] sequence end token ']' not found\n"
    assert "kQ" not in without_excerpts('toml: line 2 (last key "a"): expected value but found "kQ" instead')


@pytest.mark.parametrize(
    "text", ['[decisions]\na = "kQ7vR2m\'s"\n', '[literals]\nab = {kind="secret", name="kQ7vR2m!"}\n']
)
def test_a_decision_that_cannot_be_read_is_not_repeated(text: str) -> None:
    with pytest.raises(Failed) as caught:
        decisions.parse(text.encode())
    assert "kQ7" not in "".join(traceback.format_exception(caught.value))
    assert "secrets.toml" in caught.value.message


def test_decisions_leave_what_a_person_wrote_in_the_file() -> None:
    raw = b'# mine\n[decisions]\n"a.b" = "config"  # because\n\n# ours\nc = \'secret\'\n# later\n'
    wanted = decisions.Decisions({"a.b": Kind.secret, "c": Kind.secret, "d": Kind.config}, {})
    assert decisions.updated(raw, wanted).decode() == (
        '# mine\n[decisions]\n"a.b" = "secret"  # because\n\n# ours\nc = \'secret\'\nd = "config"\n# later\n'
    )
    literal = decisions.Literal(kind=Kind.secret, name="x", file="dot_x")
    both = decisions.updated(raw, decisions.Decisions(wanted.decisions, {"0123456789abcdef": literal}))
    assert decisions.parse(both).literals == {"0123456789abcdef": literal}
    assert decisions.updated(both, decisions.parse(both)) == both
    with pytest.raises(Failed, match="without losing"):
        decisions.updated(b'decisions.a = "config"\n', decisions.Decisions({"a": Kind.secret}, {}))


def test_an_action_is_no_secret_to_a_scanner_either() -> None:
    line = 'curl -u rain:{{ include "/run/secrets/x" | trim }} https://x.example.net'
    assert rules.is_false("run_x.sh.tmpl", "curl-auth-user", 'rain:{{ include "/run/secrets/x" | trim }}', line)
    assert rules.is_false("run_x.sh.tmpl", "curl-auth-user", "rain:{{", line)
    assert not rules.is_false("x", "curl-auth-user", "rain:kQ7v{{ .x }}", "curl -u rain:kQ7v{{ .x }} https://x")


def test_what_a_script_printed_is_told_without_its_secrets() -> None:
    said = f"+ curl --user u:kQ7vR2m http://x/\n+ export T={'ghp_' + 'q7Rt2WzK9' * 4}\ncurl: (7) refused\n+ password=tr0ub4dor-and"
    assert rules.told(said) == ("+ curl --user u:*** http://x/\n+ export T=***\ncurl: (7) refused\n+ password=***")
    assert rules.told("exit status 3: no password was given") == "exit status 3: no password was given"


SOPS = 'a: ENC[AES256_GCM,data:aGk=,iv:aGk=,tag:aGk=,type:str]\nn: null\ne: ""\nsops:\n  age:\n    - recipient: age1x\n  mac: ENC[x]\n'


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("s.yaml", SOPS, []),
        ("s.yaml", f"b: kQ7v-harbor\n{SOPS}", [1]),
        ("s.yaml", f"{SOPS}b: kQ7v-harbor\nc:\n  - d: 'and more'\n  - otter\n", [8, 10, 11]),
        ("s.yaml", f"b_unencrypted: kQ7v-harbor\n{SOPS}", []),
        ("s.yaml", f"b: kQ7v-harbor\n{SOPS}  encrypted_regex: ^data$\n", []),
        ("s.json", '{\n\t"a": "ENC[x]",\n\t"b": "kQ7v-harbor",\n\t"sops": {\n\t\t"mac": "ENC[x]",\n\t\t"v": "3"\n\t}\n}\n', [3]),
        ("s.env", "A=ENC[AES256_GCM,data:x]\nB=kQ7v-harbor\nsops_mac=ENC[x]\nsops_version=3.9\n", [2]),
    ],
)  # fmt: skip
def test_a_value_that_an_editor_wrote_into_a_sops_file_is_not_encrypted(path: str, text: str, found: list[int]) -> None:
    assert lines(text, path) == found
