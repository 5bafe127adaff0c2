"""Samples in other forms than the corpus has, written after the rules, by somebody who had read them.

The rules were tuned on the corpus, so that its figures flatter them. What these gave the first time is in
docs/benchmarks.md, and what they showed was mended: since then they are a part of the corpus like any other.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Iterator

from corpus import ALNUM, URLSAFE, Maker, Sample

BASE32 = string.ascii_uppercase + "234567"


def planted(seed: int = 1) -> list[Sample]:
    """Files with a secret each."""
    return list(_planted(Maker(seed + 2000)))


def decoys(seed: int = 1) -> list[Sample]:
    """Files without one."""
    return list(_decoys(Maker(seed + 3000)))


def _planted(make: Maker) -> Iterator[Sample]:
    def sample(kind: str, path: str, template: str, secret: str) -> Sample:
        return Sample(kind=kind, path=path, content=template.replace("@@", secret, 1) + "\n", secret=secret)

    # A file that is nothing but the token.
    yield sample("vault", "private_dot_vault-token", "@@", "hvs." + make.of(URLSAFE, 90))
    # Infrastructure.
    yield sample("terraform", "infra/terraform.tfvars", 'do_token = "@@"', "dop_v1_" + make.hex(64))
    yield sample(
        "terraform",
        "dot_terraformrc",
        'credentials "app.terraform.io" {\n  token = "@@"\n}',
        f"{make.of(ALNUM, 14)}.atlasv1.{make.of(ALNUM, 60)}",
    )
    yield sample("ansible", "inventory.ini", "[nas]\nnas ansible_user=rain ansible_ssh_pass=@@", make.password())
    yield sample("compose", "docker-compose.yml", "    environment:\n      - POSTGRES_PASSWORD=@@", make.password())
    yield sample(
        "systemd", "dot_config/systemd/user/bot.service", '[Service]\nEnvironment="BOT_TOKEN=@@"', make.of(ALNUM, 40)
    )
    yield sample("fstab", "etc/fstab", "//nas/x /mnt/x cifs username=rain,password=@@,uid=1000 0 0", make.password())
    yield sample("sql", "init.sql", "CREATE USER wiki WITH PASSWORD '@@';", make.password())
    yield sample("sql", "grants.sql", "CREATE USER 'wiki'@'%' IDENTIFIED BY '@@';", make.password())
    # Mail, news, chat, music.
    yield sample("mail", "dot_muttrc", 'set imap_user = "rain"\nset imap_pass="@@"', make.password())
    yield sample("mail", "dot_offlineimaprc", "[Repository r]\nremoteuser = rain\nremotepass = @@", make.password())
    yield sample("mail", "dot_fetchmailrc", 'poll imap.example.org user "rain" password "@@"', make.password())
    yield sample("news", "dot_newsboat/config", 'freshrss-login "rain"\nfreshrss-password "@@"', make.password())
    yield sample("music", "dot_config/mpd/mpd.conf", 'password "@@@read,add,control,admin"', make.of(ALNUM, 14))
    yield sample(
        "webhook",
        "dot_local/bin/executable_say",
        'curl -d "content=hi" @@',
        f"https://discord.com/api/webhooks/{make.of(string.digits[1:], 18)}/{make.of(URLSAFE, 68)}",
    )
    # Storage and packages.
    yield sample("s3", "dot_s3cfg", "access_key = x\nsecret_key = @@", make.of(ALNUM + "/+", 40))
    yield sample("s3", "private_dot_passwd-s3fs", f"AKIA{make.of(BASE32, 16)}:@@", make.of(ALNUM + "/+", 40))
    yield sample("backup", "dot_config/borg.env", 'BORG_PASSPHRASE="@@"', "river stone Window carpet 41 lamp")
    yield sample("gradle", "dot_gradle/gradle.properties", "ossrhUsername=rain\nossrhPassword=@@", make.of(ALNUM, 22))
    yield sample(
        "nuget", "dot_nuget/NuGet.Config", '<add key="ClearTextPassword" value="@@" />', make.of(ALNUM + "!", 20)
    )
    yield sample("gem", "dot_gem/credentials", "---\n:rubygems_api_key: @@", "rubygems_" + make.hex(48))
    yield sample(
        "composer", "dot_composer/auth.json", '{"github-oauth": {"github.com": "@@"}}', "ghp_" + make.of(ALNUM, 36)
    )
    yield sample("sync", "dot_config/syncthing/config.xml", "<gui>\n  <apikey>@@</apikey>\n</gui>", make.of(ALNUM, 32))
    # Keys in other clothes.
    yield sample("esphome", "esphome/desk.yaml", "api:\n  encryption:\n    key: '@@'", make.base64(32))
    body = make.hex(512)
    lines = [body[start : start + 32] for start in range(0, 512, 32)]
    block = "\n".join(
        ("-----BEGIN OpenVPN Static key V1-----", *lines, "-----END OpenVPN Static key V1-----"),
    )
    yield Sample(kind="openvpn", path="vpn/ta.key", content=block + "\n", secret=lines[0])
    yield sample("openvpn", "vpn/home.ovpn", "<auth-user-pass>\nrain\n@@\n</auth-user-pass>", make.password())
    pem = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{make.base64(180)}\n-----END OPENSSH PRIVATE KEY-----\n"
    yield sample("key-in-base64", "dot_config/ci.env", "DEPLOY_KEY_B64=@@", base64.b64encode(pem.encode()).decode())
    yield sample("jwk", "jwk.json", '{"kty": "OKP", "crv": "Ed25519", "d": "@@"}', make.of(URLSAFE, 43))
    yield sample(
        "otp", "dot_config/otp.txt", "otpauth://totp/Example:rain?secret=@@&issuer=Example", make.of(BASE32, 32)
    )
    yield sample(
        "seed",
        "wallet.toml",
        'seed_phrase = "@@"',
        "copper lantern otter meadow violet maple harbor tunnel quartz pepper ice oak",
    )
    # Services.
    yield sample("stripe", "dot_config/stripe.toml", 'live = "@@"', "sk_live_" + make.of(ALNUM, 24))
    yield sample("sendgrid", "notes.md", "the old one was @@", f"SG.{make.of(URLSAFE, 22)}.{make.of(URLSAFE, 43)}")
    yield sample("twilio", "dot_env", "TWILIO_AUTH_TOKEN=@@", make.hex(32))
    yield sample(
        "tailscale", "up.sh", "tailscale up --auth-key=@@", f"tskey-auth-{make.of(ALNUM, 16)}-{make.of(ALNUM, 32)}"
    )
    yield sample("huggingface", "dot_cache/token", "@@", "hf_" + make.of(string.ascii_letters, 34))
    yield sample(
        "mastodon", "dot_config/toot/config.json", '{"users": {"r": {"access_token": "@@"}}}', make.of(URLSAFE, 43)
    )
    # In a program or a command.
    yield sample(
        "query", "dot_config/weather.sh", 'curl "https://api.example.org/v1?q=x&appid=1&api_key=@@"', make.hex(32)
    )
    yield sample("cookie", "fetch.sh", "curl -H 'Cookie: sessionid=@@' https://example.org", make.of(ALNUM, 40))
    yield sample("heredoc", "login.sh", "gh auth login --with-token <<EOF\n@@\nEOF", "gho_" + make.of(ALNUM, 36))
    yield sample("array", "run.sh", "args=(--host x --api-key @@ --verbose)", make.of(ALNUM, 32))
    yield sample("gpg", "sign.sh", "gpg --batch --passphrase '@@' --sign x", make.password())
    yield sample("openssl", "enc.sh", "openssl enc -aes-256-cbc -in x -pass pass:@@", make.password())
    yield sample("sudo", "root.sh", "echo '@@' | sudo -S true", make.password())
    yield sample("powershell", "profile.ps1", '$env:API_TOKEN = "@@"', make.of(ALNUM, 36))
    yield sample("python", "bot.py", 'client = Client(api_key="@@", retries=3)', make.of(ALNUM, 40))
    yield sample("lua", "dot_config/nvim/db.lua", "db = { user = 'rain', password = [[@@]] }", make.password())
    yield sample("nix", "home.nix", "home.sessionVariables.OPENAI_API_KEY = ''@@'';", "sk-proj-" + make.of(URLSAFE, 60))
    # chezmoi and YAML.
    yield sample("dict", "dot_x.tmpl", '{{ template "mail" (dict "user" "rain" "password" "@@") }}', make.password())
    yield sample("folded", "dot_config/y.yaml", "smtp:\n  password: >-\n    @@\n  port: 465", make.password())
    yield sample(
        "calendar",
        "dot_config/cal.conf",
        "url = @@",
        f"https://calendar.google.com/calendar/ical/rain/private-{make.hex(32)}/basic.ics",
    )


def _decoys(make: Maker) -> Iterator[Sample]:
    def decoy(kind: str, path: str, content: str) -> Sample:
        return Sample(kind=kind, path=path, content=content + "\n")

    yield decoy("data-uri", "dot_config/font.css", f"src: url(data:font/woff2;base64,{make.base64(300)});")
    yield decoy(
        "svg",
        "icon.svg",
        '<path d="M12.5 3.2c-2.1 0-3.8 1.7-3.8 3.8v2.5H6.9V20h10.2V9.5h-1.8V7c0-2.1-1.2-3.8-2.8-3.8z"/>',
    )
    yield decoy("pin", ".github/workflows/x.yml", f"      - uses: actions/checkout@{make.hex(40)} # v4")
    yield decoy("pin", "compose.yml", f"    image: postgres@sha256:{make.hex(64)}")
    yield decoy("hash", "x.rb", f'  url "https://example.org/x.tar.gz"\n  sha256 "{make.hex(64)}"')
    yield decoy("hash", "page.html", f'<script src="x.js" integrity="sha384-{make.base64(48)}"></script>')
    yield decoy(
        "hash",
        "pkg.nix",
        f'vendorHash = "sha256-{make.base64(32)}";\nsrc = fetchFromGitHub {{ rev = "{make.hex(40)}"; }};',
    )
    yield decoy("hash", "htpasswd", f"rain:$2y$05${make.of(ALNUM + './', 53)}")
    yield decoy(
        "gpg",
        "dot_bashrc",
        f"export PASSWORD_STORE_DIR=~/.password-store\nexport PASSWORD_STORE_KEY={make.of('0123456789ABCDEF', 16)}",
    )
    yield decoy(
        "gpg",
        "dot_gnupg/gpg.conf",
        f"default-key 0x{make.of('0123456789ABCDEF', 16)}\nkeyserver hkps://keys.example.org",
    )
    yield decoy(
        "keys", "keybindings.json", '[{"key": "ctrl+k ctrl+s", "command": "workbench.action.openGlobalKeybindings"}]'
    )
    yield decoy("keys", "dot_config/i3/config", "bindsym $mod+p exec passmenu\nbindsym $mod+Shift+p exec rofi-pass")
    yield decoy(
        "plugin", "dot_tmux.conf", "set -g @plugin 'tmux-plugins/tpm'\nset -g @resurrect-strategy-nvim 'session'"
    )
    yield decoy(
        "address",
        "app.toml",
        'token_url = "https://auth.example.org/oauth/token"\nauth_endpoint = "https://auth.example.org/authorize"',
    )
    yield decoy(
        "word", "app2.toml", 'passwordless = true\nauthentication = "keyboard-interactive"\ntoken_type = "bearer"'
    )
    yield decoy("word", "sudoers", "%wheel ALL=(ALL:ALL) NOPASSWD: ALL\nDefaults passwd_tries=3")
    yield decoy(
        "word",
        "sshd_config",
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nKbdInteractiveAuthentication no",
    )
    yield decoy("word", "dot_zshrc", 'HISTIGNORE="*password*:*token*:*secret*"\nsetopt HIST_IGNORE_SPACE')
    yield decoy(
        "word", "service.nix", 'services.dbus.packages = [ pkgs.gcr ];\nsecretService = "org.freedesktop.secrets";'
    )
    yield decoy("pattern", "lint.py", 'TOKEN_PATTERN = r"[A-Za-z0-9_]{40}"\nPASSWORD_RE = re.compile(r"^\\S{12,}$")')
    yield decoy(
        "test", "test_login.py", "def test_password_is_required(client):\n    assert client.login(password='') is None"
    )
    yield decoy(
        "wifi", "home.nmconnection", f"[connection]\nuuid={make.uuid()}\n[wifi-security]\nkey-mgmt=wpa-psk\npsk-flags=1"
    )
    yield decoy("docs", "README.md", f"    export GITHUB_TOKEN=<your token>\n\nLooks like `ghp_{'x' * 36}`.")
    yield decoy("docs", "NOTES.md", 'The password: see the vault, entry "forge". Token: ask Olga.')
    yield decoy(
        "k8s",
        "deploy.yaml",
        "env:\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: wiki-db\n      key: password",
    )
    yield decoy(
        "compose",
        "stack.yml",
        "secrets:\n  db_password:\n    file: /run/secrets/db_password\nenvironment:\n  POSTGRES_PASSWORD_FILE: /run/secrets/db_password",
    )
    yield decoy(
        "terraform",
        "main.tf",
        'variable "db_password" {\n  type      = string\n  sensitive = true\n}\nresource "x" "y" {\n  password = var.db_password\n}',
    )
    yield decoy(
        "vault",
        "group_vars.yml",
        f"smtp_password: !vault |\n          $ANSIBLE_VAULT;1.1;AES256\n          {make.hex(80)}\n          {make.hex(80)}",
    )
    yield decoy("direnv", "dot_envrc", 'export TOKEN=$(op read "op://Work/forge/token")\ndotenv_if_exists .env.local')
    yield decoy(
        "agenix",
        "secrets.nix",
        'age.secrets.wifi-password.file = ../secrets/wifi.age;\nage.identityPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];',
    )
    yield decoy(
        "git-crypt",
        "dot_gitattributes",
        "secrets/** filter=git-crypt diff=git-crypt\n*.key filter=git-crypt diff=git-crypt",
    )
    yield decoy(
        "browser",
        "user.js",
        f'user_pref("signon.rememberSignons", false);\nuser_pref("extensions.webextensions.uuids", "{{\\"a@b\\":\\"{make.uuid()}\\"}}");',
    )
    yield decoy(
        "wireguard",
        "wg1.conf",
        f"[Interface]\nPostUp = wg set %i private-key /run/secrets/wg\n[Peer]\nPublicKey = {make.base64(32)}",
    )
    yield decoy(
        "public-key",
        "minisign.pub",
        f"untrusted comment: minisign public key {make.of('0123456789ABCDEF', 16)}\nRWQ{make.base64(39)}",
    )
    yield decoy(
        "public-key", "dkim.txt", f'default._domainkey IN TXT "v=DKIM1; k=rsa; p=MIIBIjANBgkqh{make.base64(120)}"'
    )
    yield decoy("public-key", "fingerprint.txt", f"256 SHA256:{make.base64(32)[:43]} rain@a (ED25519)")
    yield decoy("colors", "base16.yaml", "".join(f'base0{digit}: "{make.hex(6)}"\n' for digit in "0123456789ABCDEF"))
    yield decoy("glyphs", "kitty.conf", "symbol_map U+E0A0-U+E0A3,U+E0B0-U+E0BF,U+F000-U+F2E0 Symbols Nerd Font")
    yield decoy(
        "code", "login.ts", "const token = await getToken(user);\nconst password = form.get('password') as string;"
    )
    yield decoy("code", "App.kt", "val password: String by lazy { prefs.getString(KEY_PASSWORD, null) }")
    yield decoy("code", "x.rs", 'let secret = std::env::var("APP_SECRET").expect("APP_SECRET");')
    yield decoy("code", "x.go", 'token := os.Getenv("TOKEN")\nif token == "" { log.Fatal("no token") }')
    yield decoy(
        "code",
        "dot_config/fish/config.fish",
        "set -gx GPG_TTY (tty)\nset -gx SSH_AUTH_SOCK $XDG_RUNTIME_DIR/gnupg/S.gpg-agent.ssh",
    )
    yield decoy(
        "id",
        "sync.json",
        json.dumps({"deviceID": "-".join(make.of(BASE32, 7) for _ in range(8)), "etag": make.hex(32)}),
    )
    yield decoy("id", "dot_config/spotify.toml", f'device_id = "{make.hex(40)}"\nclient_id = "{make.hex(32)}"')
    yield decoy(
        "sops-nix",
        "sops.nix",
        'sops.secrets."users/rain/password".neededForUsers = true;\nsops.age.keyFile = "/var/lib/sops/key.txt";',
    )
    yield decoy(
        "login", "dot_config/greetd.toml", '[default_session]\ncommand = "tuigreet --asterisks --remember --user-menu"'
    )
