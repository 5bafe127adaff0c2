"""Dotfiles with secrets that are none, and dotfiles that only look so: what scanners are measured with.

Everything is generated from a seed: nothing here was ever anybody's secret, and no scanner takes these files for a leak.
Each sample is one file with one secret in it, or, for a decoy, with none.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One file.

    Attributes:
        kind: of the secret, or of what only looks like one.
        path: in a chezmoi repository.
        content: what it holds.
        secret: the value; empty for a decoy.
    """

    kind: str
    path: str
    content: str
    secret: str = ""


class Maker:
    """Makes values that look like the real ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same values each time are what is wanted

    def of(self, alphabet: str, length: int) -> str:
        """So many characters."""
        return "".join(self._random.choice(alphabet) for _ in range(length))

    def hex(self, length: int) -> str:
        """Hexadecimal digits."""
        return self.of("0123456789abcdef", length)

    def password(self) -> str:
        """As people choose them: two words, a digit, a sign."""
        words = ("maple", "otter", "quartz", "violet", "harbor", "pepper", "tunnel", "meadow", "copper", "lantern")
        one, other = self._random.sample(words, 2)
        return f"{one}{self.of('!-_+', 1)}{other.capitalize()}{self.of(string.digits, 2)}"

    def base64(self, length: int) -> str:
        """Random bytes in base64."""
        return base64.b64encode(self._random.randbytes(length)).decode()

    def uuid(self) -> str:
        """A UUID of version 4."""
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))

    def pem(self, kind: str, length: int = 240) -> tuple[str, str]:
        """A block as OpenSSL writes it, and its first line."""
        body = self.base64(length)
        lines = [body[start : start + 64] for start in range(0, len(body), 64)]
        return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"]) + "\n", lines[0]


def planted(seed: int = 1) -> list[Sample]:
    """Files with a secret each."""
    return list(_planted(Maker(seed)))


def decoys(seed: int = 1) -> list[Sample]:
    """Files without one."""
    return list(_decoys(Maker(seed + 1000)))


def _planted(make: Maker) -> Iterator[Sample]:
    def sample(kind: str, path: str, template: str, secret: str) -> Sample:
        return Sample(kind=kind, path=path, content=template.replace("@", secret, 1) + "\n", secret=secret)

    # Templates with actions.
    yield sample(
        "template", "dot_msmtprc.tmpl", '{{ if eq .chezmoi.hostname "a" }}smtp_pass = "@"{{ end }}', make.password()
    )
    yield sample(
        "template", "dot_config/mail.toml.tmpl", '[smtp]\nuser = "{{ .email }}"\npassword = "@"', make.password()
    )
    yield sample("template", "dot_profile.tmpl", '{{- $token := "@" -}}\nexport FORGE_TOKEN={{ $token }}', make.hex(40))
    yield sample(
        "template",
        "dot_config/db.yaml.tmpl",
        "{{ range .hosts }}\n- host: {{ . }}\n  db_password: @\n{{ end }}",
        make.password(),
    )
    yield sample("template", "dot_config/x.ini.tmpl", 'api_key = {{ .api_key | default "@" }}', make.of(ALNUM, 24))
    # TOML.
    yield sample("toml", "dot_config/app.toml", 'db_password = "@"', make.of(ALNUM, 18))
    yield sample("toml", "dot_config/bot.toml", '[bot]\nname = "x"\nclient_secret = "@"', make.of(ALNUM, 32))
    yield sample("toml", "dot_config/svc.toml", "[api]\nauth-token = '@'", make.hex(32))
    # YAML.
    yield sample("yaml", "dot_config/app.yaml", "smtp:\n  user: me\n  password: @", make.password())
    yield sample("yaml", "dot_config/beets/config.yaml", "acoustid:\n    apikey: @", make.of(ALNUM, 10))
    yield sample(
        "yaml", "dot_config/gh/hosts.yml", "github.com:\n    user: me\n    oauth_token: @", "gho_" + make.of(ALNUM, 36)
    )
    yield sample("yaml", "dot_config/ha/secrets.yaml", "mqtt_password: '@'", make.password())
    # JSON.
    yield sample("json", "dot_config/app.json", '{"user": "me", "password": "@", "port": 1}', make.password())
    yield sample("json", "dot_config/Code/settings.json", '{\n  "openai.apiKey": "@"\n}', "sk-" + make.of(ALNUM, 48))
    yield sample("json", "dot_config/mcp.json", '{"servers": {"x": {"env": {"API_TOKEN": "@"}}}}', make.of(URLSAFE, 40))
    # Shell.
    yield sample("shell", "dot_bashrc", "alias ll='ls -l'\nexport GITLAB_TOKEN=@", "glpat-" + make.of(URLSAFE, 20))
    yield sample("shell", "dot_zshenv", 'export RESTIC_PASSWORD="@"', make.password())
    yield sample("shell", "private_dot_env", "DATABASE_PASSWORD=@\nDEBUG=1", make.of(ALNUM, 16))
    yield sample(
        "shell", "dot_config/fish/config.fish", "set -gx ANTHROPIC_API_KEY @", "sk-ant-api03-" + make.of(URLSAFE, 80)
    )
    yield sample(
        "shell",
        "executable_backup.sh",
        "#!/bin/sh\nB2_APPLICATION_KEY='@' rclone sync . b2:x",
        "K004" + make.of(ALNUM, 27),
    )
    yield sample("command", "dot_local/bin/executable_up", "curl -u rain:@ https://dav.example.org/", make.password())
    yield sample(
        "command",
        "dot_local/bin/executable_post",
        'curl -H "Authorization: Bearer @" https://api.example.org',
        make.of(URLSAFE, 40),
    )
    yield sample(
        "command", "dot_local/bin/executable_dump", "mysqldump -u root -p@ wiki > wiki.sql", make.of(ALNUM, 12)
    )
    yield sample("command", "dot_local/bin/executable_nas", "sshpass -p '@' ssh nas uptime", make.password())
    yield sample(
        "command", "dot_bash_aliases", "alias vpn='openconnect --user me --password=@ vpn.example.org'", make.password()
    )
    # netrc and its like.
    yield sample("netrc", "private_dot_netrc", "machine git.example.org login rain password @", make.of(ALNUM, 20))
    yield sample("netrc", "private_dot_netrc.tmpl", "machine {{ .forge }}\n  login rain\n  password @", make.password())
    yield sample(
        "netrc", "private_dot_authinfo", "machine imap.example.org login rain port 993 password @", make.password()
    )
    yield sample("pgpass", "private_dot_pgpass", "db.example.org:5432:wiki:rain:@", make.password())
    yield sample("mycnf", "private_dot_my.cnf", "[client]\nuser=root\npassword=@", make.password())
    value = make.hex(40)
    content = f"https://rain:{value}@git.example.org\n"
    yield Sample(kind="git-credentials", path="private_dot_git-credentials", content=content, secret=value)
    # npm, PyPI, cargo, Docker.
    yield sample("npmrc", "private_dot_npmrc", "//registry.npmjs.org/:_authToken=@", "npm_" + make.of(ALNUM, 36))
    yield sample("npmrc", "dot_npmrc", "//npm.example.org/:_authToken=@", make.uuid())
    yield sample("npmrc", "private_dot_yarnrc.yml", 'npmAuthToken: "@"', make.of(ALNUM, 32))
    yield sample(
        "pypirc",
        "private_dot_pypirc",
        "[pypi]\nusername = __token__\npassword = @",
        "pypi-AgEIcHlwaS5vcmc" + make.of(URLSAFE, 60),
    )
    yield sample("cargo", "dot_cargo/private_credentials.toml", '[registry]\ntoken = "@"', "cio" + make.of(ALNUM, 32))
    auth = base64.b64encode(f"rain:{make.password()}".encode()).decode()
    yield sample("docker", "dot_docker/private_config.json", '{"auths": {"registry.example.org": {"auth": "@"}}}', auth)
    # Keys.
    for kind, name in (
        ("OPENSSH PRIVATE KEY", "id_ed25519"),
        ("RSA PRIVATE KEY", "id_rsa"),
        ("EC PRIVATE KEY", "tls.key"),
    ):
        block, first = make.pem(kind)
        yield Sample(
            kind="ssh-key" if "id_" in name else "tls-key",
            path=f"private_dot_ssh/private_{name}",
            content=block,
            secret=first,
        )
    block, first = make.pem("PRIVATE KEY")
    indented = "".join(f"    {line}\n" for line in block.splitlines())
    yield Sample(kind="tls-key", path="dot_config/x.yaml", content=f"key: |\n{indented}", secret=first)
    block, first = make.pem("PGP PRIVATE KEY BLOCK")
    yield Sample(kind="pgp-key", path="dot_gnupg/secret.asc", content=block, secret=first)
    bech32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
    yield sample(
        "age-key", "dot_config/sops/age/keys.txt", "# created: 2026-01-01\n@", "AGE-SECRET-KEY-1" + make.of(bech32, 58)
    )
    yield sample(
        "age-key", "dot_config/sops/age/executable_x", "export SOPS_AGE_KEY=@", "AGE-SECRET-KEY-1" + make.of(bech32, 58)
    )
    yield sample("wireguard", "private_wg0.conf", "[Interface]\nPrivateKey = @\nAddress = 10.0.0.2/32", make.base64(32))
    yield sample("wireguard", "private_wg1.conf", "[Peer]\nPresharedKey = @", make.base64(32))
    yield sample(
        "ssh-key", "dot_putty/nas.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n@", make.base64(36)
    )
    # Kubernetes.
    yield sample(
        "kubeconfig", "private_dot_kube/config", "users:\n- name: me\n  user:\n    token: @", make.of(URLSAFE, 60)
    )
    yield sample(
        "kubeconfig",
        "private_dot_kube/private_config",
        "users:\n- name: me\n  user:\n    client-key-data: @",
        make.base64(120),
    )
    yield sample(
        "kubernetes", "dot_config/k8s/secret.yaml", "apiVersion: v1\nkind: Secret\ndata:\n  pw: @", make.base64(15)
    )
    # Clouds.
    yield sample(
        "aws",
        "dot_aws/private_credentials",
        "[default]\naws_access_key_id = @",
        "AKIA" + make.of(string.ascii_uppercase + "234567", 16),
    )
    yield sample(
        "aws", "private_dot_aws/credentials", "[default]\naws_secret_access_key = @", make.of(ALNUM + "/+", 40)
    )
    yield sample(
        "gcp",
        "dot_config/gcloud/key.json",
        '{"type": "service_account", "private_key_id": "x", "private_key": "@"}',
        "-----BEGIN PRIVATE KEY-----\\n" + make.base64(90) + "\\n-----END PRIVATE KEY-----\\n",
    )
    yield sample("gcp", "dot_config/maps.toml", 'google_api_key = "@"', "AIza" + make.of(URLSAFE, 35))
    yield sample("azure", "dot_config/az.env", "AZURE_CLIENT_SECRET=@", make.of(ALNUM + "~_", 40))
    yield sample(
        "azure",
        "dot_config/st.env",
        "AZURE_STORAGE_CONNECTION_STRING='DefaultEndpointsProtocol=https;AccountName=x;AccountKey=@'",
        make.base64(64),
    )
    yield sample(
        "rclone", "dot_config/rclone/rclone.conf", "[box]\ntype = webdav\nuser = me\npass = @", make.of(URLSAFE, 32)
    )
    yield sample("hetzner", "dot_config/hcloud/cli.toml", '[[contexts]]\nname = "x"\ntoken = "@"', make.of(ALNUM, 64))
    # URLs with a password.
    for path, url in (
        ("dot_pip.conf", "index-url = https://ci:{}@pypi.example.org/simple"),
        ("dot_config/app.env", "DATABASE_URL=postgres://wiki:{}@db.example.org:5432/wiki"),
        ("dot_config/q.yaml", "broker: amqp://worker:{}@mq.example.org//"),
        ("dot_gitconfig", '[url "https://rain:{}@git.example.org/"]\n\tinsteadOf = forge:'),
    ):
        value = make.of(ALNUM, 20)
        yield Sample(kind="url", path=path, content=url.format(value) + "\n", secret=value)
    yield sample(
        "webhook",
        "dot_config/notify.sh",
        "curl -d hi @",
        f"https://hooks.slack.com/services/T{make.of(string.ascii_uppercase, 8)}/B{make.of(string.ascii_uppercase, 8)}/{make.of(ALNUM, 24)}",
    )
    yield sample("chat", "dot_config/irc.conf", 'server { nick = "rain"; sasl_password = "@"; }', make.password())
    yield sample(
        "chat",
        "dot_config/tg.env",
        "TELEGRAM_BOT_TOKEN=@",
        f"{make.of(string.digits[1:], 10)}:AA{make.of(URLSAFE, 33)}",
    )
    yield sample(
        "chat",
        "dot_config/slack.toml",
        'token = "@"',
        f"xoxb-{make.of(string.digits, 12)}-{make.of(string.digits, 12)}-{make.of(ALNUM, 24)}",
    )
    # Base64 around it.
    inner = f"password={make.password()}"
    yield sample(
        "base64",
        "dot_config/systemd/x.service",
        "[Service]\nEnvironment=BLOB=@",
        base64.b64encode(inner.encode()).decode(),
    )
    inner = json.dumps({"token": "ghp_" + make.of(ALNUM, 36)})
    yield sample("base64", "dot_config/blob.txt", "@", base64.b64encode(inner.encode()).decode())
    # Wi-Fi, mail, editors, chezmoi.
    yield sample(
        "wifi", "wpa_supplicant.conf", 'network={\n  ssid="home"\n  psk="@"\n}', "correct horse battery staple"
    )
    yield sample("wifi", "home.nmconnection", "[wifi-security]\nkey-mgmt=wpa-psk\npsk=@", make.password())
    yield sample("mail", "dot_mbsyncrc", "IMAPAccount x\nHost imap.example.org\nUser rain\nPass @", make.password())
    yield sample("mail", "dot_config/aerc/accounts.conf", "outgoing-password = @", make.password())
    yield sample("lisp", "dot_emacs.d/init.el", '(setq openai-api-key "@")', make.of(ALNUM, 40))
    yield sample("lua", "dot_config/nvim/lua/ai.lua", 'vim.g.copilot_token = "@"', make.of(ALNUM, 40))
    yield sample("nix", "configuration.nix", 'services.x.adminPassword = "@";', make.password())
    yield sample(
        "xml",
        "dot_m2/settings.xml",
        "<server>\n  <username>ci</username>\n  <password>@</password>\n</server>",
        make.password(),
    )
    yield sample("chezmoidata", ".chezmoidata.yaml", "name: Rain\nacoustid_api: @", make.of(ALNUM, 10))
    yield sample("chezmoidata", ".chezmoidata.toml", 'desktop = true\nlastfm_api = "@"', make.hex(32))
    yield sample(
        "jwt",
        "dot_config/jwt.env",
        "SESSION=@",
        f"eyJ{make.of(URLSAFE, 17)}.eyJ{make.of(URLSAFE, 40)}.{make.of(URLSAFE, 43)}",
    )


def _decoys(make: Maker) -> Iterator[Sample]:
    def decoy(kind: str, path: str, content: str) -> Sample:
        return Sample(kind=kind, path=path, content=content + "\n")

    enc = f"ENC[AES256_GCM,data:{make.base64(20)},iv:{make.base64(24)},tag:{make.base64(16)},type:str]"
    yield decoy("sops", "secrets/x.yaml", f"acoustid_api: {enc}\nsops:\n  mac: {enc}\n  version: 3.11.0")
    yield decoy("sops", "secrets/x.json", json.dumps({"password": enc, "sops": {"mac": enc}}))
    yield decoy("sops", "secrets/x.env", f"PASSWORD={enc}\nsops_mac={enc}")
    yield decoy("sops", "secrets/x.toml", f'token = "{enc}"\n[sops]\nmac = "{enc}"')
    yield decoy(
        "age",
        "encrypted_private_dot_netrc.age",
        f"-----BEGIN AGE ENCRYPTED FILE-----\n{make.base64(90)}\n-----END AGE ENCRYPTED FILE-----",
    )
    block, _ = make.pem("PGP MESSAGE")
    yield decoy("pgp", "encrypted_dot_x.asc", block)
    for path, text in (
        ("dot_a.tmpl", 'password = "{{ onepasswordRead "op://Personal/mail/password" }}"'),
        ("dot_b.tmpl", 'token = {{ (bitwarden "item" "forge").login.password }}'),
        ("dot_c.tmpl", 'api_key: {{ pass "forge/api_key" | quote }}'),
        ("dot_d.tmpl", 'smtp_pass = "{{ include "/run/secrets/smtp_pass" | trim }}"'),
        ("dot_e.tmpl", "secret = {{ .secret | quote }}"),
        ("dot_f.tmpl", '{{- $token := output "gopass" "show" "forge" | trim -}}\nexport TOKEN={{ $token }}'),
        ("dot_g.tmpl", 'password {{ keyring "mail" "rain" }}'),
        ("dot_h.tmpl", 'machine git.example.org login rain password {{ rbw "git" }}'),
        ("dot_i.tmpl", "https://rain:{{ .token }}@git.example.org"),
        ("dot_j.toml.tmpl", 'auth_token = "{{ (vault "secret/forge").data.token }}"'),
    ):
        yield decoy("template-call", path, text)
    for path, text in (
        ("dot_mbsyncrc", 'PassCmd "pass show mail/rain"'),
        ("dot_msmtprc", "passwordeval secret-tool lookup service mail"),
        ("dot_bashrc", "export GITHUB_TOKEN=$(gh auth token)"),
        ("dot_zshrc", 'export OPENAI_API_KEY="$(cat /run/secrets/openai)"'),
        ("dot_profile", "export RESTIC_PASSWORD_FILE=/run/secrets/restic"),
        ("dot_env", "DB_PASSWORD=${DB_PASSWORD:?unset}"),
        ("dot_config/app.toml", 'password_command = "rbw get mail"'),
        ("dot_config/fish/a.fish", "set -gx TOKEN (pass show forge)"),
        ("dot_gitconfig", "[credential]\n\thelper = libsecret\n[user]\n\tsigningkey = 3AA5C34371567BD2"),
        ("dot_ssh/config", "Host nas\n  IdentityFile ~/.ssh/id_ed25519\n  PasswordAuthentication no"),
        ("x.nix", 'hashedPasswordFile = config.sops.secrets."rain-password".path;'),
        ("y.nix", 'sops.secrets.acoustid_api = { owner = "rain"; mode = "0400"; };'),
        ("x.py", "password = getpass.getpass('Password: ')\ntoken = os.environ['TOKEN']"),
        ("x.lua", "local token = os.getenv('TOKEN')"),
        ("x.sh", 'read -rs -p "Password: " password\nlogin --password "$password"'),
        ("x.el", '(setq auth-sources \'("~/.authinfo.gpg"))'),
    ):
        yield decoy("reference", path, text)
    for path, text in (
        ("hashes.txt", "\n".join(make.hex(64) + f"  file{number}" for number in range(3))),
        ("x.nix", f'rev = "{make.hex(40)}";\nhash = "sha256-{make.base64(32)}";'),
        ("y.nix", f'users.users.rain.hashedPassword = "$6${make.of(ALNUM, 16)}${make.of(ALNUM + "./", 86)}";'),
        (".chezmoiexternal.toml", f'[x]\nurl = "https://example.org/x"\nchecksum.sha256 = "{make.hex(64)}"'),
        ("dot_config/nvim/lazy-lock.json", json.dumps({"x.nvim": {"branch": "main", "commit": make.hex(40)}})),
        (
            "flake.lock",
            json.dumps({"nodes": {"n": {"locked": {"narHash": f"sha256-{make.base64(32)}", "rev": make.hex(40)}}}}),
        ),
        ("package-lock.json", json.dumps({"packages": {"x": {"integrity": f"sha512-{make.base64(64)}"}}})),
        ("Cargo.lock", f'[[package]]\nname = "token"\nchecksum = "{make.hex(64)}"'),
        ("poetry.lock", f'name = "secretstorage"\nfiles = [{{file = "x", hash = "sha256:{make.hex(64)}"}}]'),
        ("go.sum", f"example.org/token v1.2.3 h1:{make.base64(32)}"),
        ("deno.lock", json.dumps({"remote": {"https://example.org/auth.ts": make.hex(64)}})),
    ):
        yield decoy("hash", path, text)
    for path, text in (
        ("ids.toml", f'id = "{make.uuid()}"\nmachine_id = "{make.hex(32)}"'),
        ("fstab", f"UUID={make.uuid()} / ext4 defaults 0 1"),
        ("dot_config/monitors.xml", f"<serial>0x{make.hex(8)}</serial>"),
        ("dot_config/gtk.css", "".join(f".a{number} {{ color: #{make.hex(6)}; }}\n" for number in range(4))),
        ("dconf.ini", f"[org/gnome]\nprofile='{make.uuid()}'"),
        ("dot_config/Code/sync.json", json.dumps({"client_id": make.uuid(), "session": 3})),
    ):
        yield decoy("identifier", path, text)
    public, _ = make.pem("PUBLIC KEY")
    certificate, _ = make.pem("CERTIFICATE")
    for path, text in (
        ("private_dot_ssh/id_ed25519.pub", f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{make.of(ALNUM, 43)} rain@a"),
        ("private_dot_ssh/authorized_keys", f"ssh-rsa AAAAB3NzaC1yc2E{make.of(ALNUM, 200)} rain@b"),
        ("private_dot_ssh/known_hosts", f"git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{make.of(ALNUM, 43)}"),
        ("known.pem", public),
        ("ca.crt", certificate),
        (".sops.yaml", f"creation_rules:\n  - age: age1{make.of('qpzry9x8gf2tvdw0s3jn54khce6mua7l', 58)}"),
        ("wg0.conf", f"[Peer]\nPublicKey = {make.base64(32)}\nAllowedIPs = 0.0.0.0/0"),
        (
            "dot_config/git/allowed_signers",
            f"rain@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{make.of(ALNUM, 43)}",
        ),
        (
            "kube.yaml",
            f"clusters:\n- cluster:\n    certificate-authority-data: {make.base64(200)}\n    server: https://k",
        ),
        ("nix.conf", f"trusted-public-keys = cache.example.org-1:{make.base64(32)}"),
    ):
        yield decoy("public-key", path, text)
    for path, text in (
        ("README.md", "Put your token into `~/.netrc`:\n\n    machine HOST login USER password PASSWORD"),
        ("example.env", "API_KEY=your-api-key-here\nSECRET=changeme"),
        ("docs.md", "Set `password: <your password>` and restart."),
        ("app.conf", "password = xxxxxxxx\ntoken = REPLACE_ME"),
        ("a.yaml", "password: ''\ntoken: null\nsecret: ~"),
        ("aws.md", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE"),
        ("x.toml", "max_tokens = 4096\ntoken_limit = 200000\ntokenizer = 'gpt2'"),
        (
            "i18n.json",
            json.dumps(
                {"password": "Password", "forgotPassword": "Forgot your password?", "enterToken": "Enter token"}
            ),
        ),
        ("dot_vimrc", "set nobackup\nlet g:pass_store_dir = '~/.password-store'"),
        ("keys.conf", "bind = SUPER, Return, exec, kitty\nkey = ctrl+shift+p"),
        ("kitty.conf", "map ctrl+shift+c copy_to_clipboard"),
        ("dot_tmux.conf", "set -g status-right '#(cat ~/.token-count)'"),
        ("dot_inputrc", "set bell-style none\npassword-prompt: on"),
        ("pam.txt", "password required pam_unix.so sha512 shadow"),
        ("schema.json", json.dumps({"properties": {"password": {"type": "string", "minLength": 8}}})),
        ("nginx.conf", "proxy_set_header Authorization $http_authorization;"),
        ("x.service", "[Service]\nLoadCredential=token:/run/secrets/token\nPassEnvironment=DISPLAY"),
    ):
        yield decoy("example", path, text)


def finds(sample: Sample, lines: list[int]) -> bool:
    """Whether findings in these lines (0 is the file as a whole) are about the secret of a sample."""
    has = {number for number, line in enumerate(sample.content.split("\n"), 1) if sample.secret[:20] in line}
    # A scanner may name the first line of a block.
    return any(line == 0 or line in has or line + 1 in has for line in lines)
