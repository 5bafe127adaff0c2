"""The held-out corpus: files of dotfiles repositories, with secrets planted and without.

Its author had not read the gate's rules or the other corpora when it was committed: it says what the rules do on forms
that they were not written for. The forms are those of public repositories; every value is made here, from a seed, so
that this file holds none. One decoy was none and was changed after the first measurement: eight digits under the name
`session-key`, which are a secret by all that their file says. Password hashes (`hashedPassword`, htpasswd) are in neither half: people disagree on them.
"""

import base64
import hashlib
import json
import random
import string
import textwrap
import uuid

from corpus import Sample

HERE = "@@"
"""Where a planted value goes in the text of an entry."""


_PLANTED: list[Sample] = []
_DECOYS: list[Sample] = []

_SEED = "gitopsd held-out 2026-11-30"
_dice = random.Random(_SEED)  # noqa: S311 — a corpus must be the same at every run

_HEX = "0123456789abcdef"
_ALNUM = string.ascii_letters + string.digits
_URL = _ALNUM + "-_"
_BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
_WORDS = [
    "maple",
    "otter",
    "harbor",
    "violet",
    "copper",
    "meadow",
    "lantern",
    "falcon",
    "pepper",
    "marble",
    "willow",
    "cobalt",
    "thunder",
    "biscuit",
    "saffron",
    "raven",
    "glacier",
    "tundra",
    "walnut",
    "orchid",
    "velvet",
    "pirate",
    "mango",
    "cactus",
    "comet",
    "badger",
    "juniper",
    "waffle",
]


def _of(alphabet: str, length: int) -> str:
    return "".join(_dice.choices(alphabet, k=length))


def _hex(length: int) -> str:
    return _of(_HEX, length)


def _b64(size: int) -> str:
    return base64.b64encode(_dice.randbytes(size)).decode()


def _b64url(size: int) -> str:
    return base64.urlsafe_b64encode(_dice.randbytes(size)).decode().rstrip("=")


def _uuid() -> str:
    return str(uuid.UUID(int=_dice.getrandbits(128), version=4))


def _sha(size: int = 32) -> str:
    return hashlib.sha512(_dice.randbytes(32)).hexdigest()[: size * 2]


def _strong(length: int = 20) -> str:
    """What a password manager makes, with marks that need no quotes anywhere."""
    return _of(_ALNUM, length - 5) + _dice.choice("!%+=") + _of(_ALNUM + "-_.", 4)


def _human() -> str:
    """What people make up: a word or two, a digit or three, now and then a mark."""
    word, other = _dice.sample(_WORDS, 2)
    forms = (
        f"{word}{_dice.randint(10, 9999)}",
        f"{word.capitalize()}{other.capitalize()}{_dice.randint(1, 99)}",
        f"{word}-{other}-{_dice.randint(1, 99)}",
        f"{word.capitalize()}{_dice.randint(1, 999)}!",
        f"{word}{other}",
        f"{word.replace('a', '4').replace('e', '3')}_{other}{_dice.randint(1, 9)}",
    )
    return _dice.choice(forms)


def _phrase(words: int = 4) -> str:
    return " ".join(_dice.sample(_WORDS, words))


def _token(prefix: str, length: int, alphabet: str = _ALNUM) -> str:
    return prefix + _of(alphabet, length)


def _jwt(claims: dict[str, object]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_b64url(32)}"


def _armour(label: str, size: int, headers: str = "", width: int = 64) -> str:
    """A block between BEGIN and END, of `size` random bytes."""
    body = "\n".join(textwrap.wrap(_b64(size), width))
    return f"-----BEGIN {label}-----\n{headers}{body}\n-----END {label}-----"


def _text(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def _plant(kind: str, path: str, text: str, value: str) -> None:
    text = _text(text)
    assert text.count(HERE) == 1, path
    text = text.replace(HERE, value)
    assert text.count(value) == 1, (path, "the place of the value is not clear")
    _PLANTED.append(Sample(kind=kind, path=path, content=text, secret=value))


def _decoy(kind: str, path: str, text: str) -> None:
    _DECOYS.append(Sample(kind=kind, path=path, content=_text(text)))


_GITHUB = "gh" + "p_"
_GITHUB_OAUTH = "gh" + "o_"
_GITHUB_FINE = "github" + "_pat_"
_GITLAB = "gl" + "pat-"
_PRIVATE = "PRIVATE" + " KEY"


def _fill() -> None:
    # --- planted: shells -------------------------------------------------------------------------------------------------

    _plant(
        "shell-export",
        "dot_zshrc.tmpl",
        """
        export ZSH="$HOME/.oh-my-zsh"
        ZSH_THEME="robbyrussell"
        plugins=(git docker)
        source $ZSH/oh-my-zsh.sh
        {{ if eq .chezmoi.os "darwin" -}}
        export PATH="/opt/homebrew/bin:$PATH"
        {{ end -}}
        export GITHUB_TOKEN=@@
        alias gs='git status'
        """,
        _token(_GITHUB, 36),
    )
    _plant(
        "shell-export",
        "dot_bashrc",
        """
        # If not running interactively, don't do anything
        [[ $- != *i* ]] && return
        export EDITOR=nvim
        export OPENAI_API_KEY="@@"
        """,
        "sk" + "-proj-" + _of(_URL, 74) + "T3" + "BlbkFJ" + _of(_URL, 74),
    )
    _plant(
        "shell-export",
        "dot_zshenv",
        "export HOMEBREW_NO_ANALYTICS=1\nexport HOMEBREW_GITHUB_API_TOKEN='@@'\n",
        _GITHUB_FINE + _of(_ALNUM, 22) + "_" + _of(_ALNUM, 59),
    )
    _plant(
        "shell-export",
        "dot_config/zsh/private.zsh",
        "export MINIFLUX_URL=https://rss.home.arpa\nexport MINIFLUX_API_KEY=@@\n",
        _b64url(32) + "=",
    )
    _plant(
        "shell-export",
        "dot_profile",
        """
        if [ -d "$HOME/.local/bin" ]; then PATH="$HOME/.local/bin:$PATH"; fi
        export JIRA_USER=rain JIRA_API_TOKEN=@@
        """,
        "ATA" + "TT3xFfGF0" + _of(_URL, 170) + "=" + _of(_HEX.upper(), 8),
    )
    _plant("shell-export", "dot_bash_profile", "export LASTFM_USER=rain\nexport LASTFM_PASS=@@\n", _human())
    _plant(
        "shell-export-commented",
        "dot_config/bash/work.sh",
        "# old one, expires in may\n# export GITLAB_TOKEN=@@\nexport GITLAB_HOST=git.example.org\n",
        _token(_GITLAB, 20, _URL),
    )
    _plant(
        "fish",
        "dot_config/fish/conf.d/secrets.fish",
        "set -gx EDITOR hx\nset -gx ANTHROPIC_API_KEY @@\n",
        "sk" + "-ant-api03-" + _of(_URL, 93) + "AA",
    )
    _plant("fish", "dot_config/fish/config.fish", "fish_vi_key_bindings\nset -x MPD_HOST '@@@nas'\n", _human())
    _plant("fish", "dot_config/fish/conf.d/todo.fish", "set -Ux TODOIST_TOKEN @@\n", _hex(40))
    _plant(
        "fish",
        "dot_config/fish/functions/vpn.fish",
        """
        function vpn
            echo "@@" | sudo openconnect --passwd-on-stdin -u rain vpn.example.org
        end
        """,
        _strong(),
    )
    _plant(
        "nushell",
        "dot_config/nushell/env.nu",
        "$env.EDITOR = 'hx'\n$env.MISTRAL_API_KEY = \"@@\"\n",
        _of(_ALNUM, 32),
    )
    _plant(
        "nushell",
        "dot_config/nushell/login.nu",
        "load-env {\n  GITLAB_HOST: gitlab.com\n  GITLAB_TOKEN: '@@'\n}\n",
        _token(_GITLAB, 20, _URL),
    )
    _plant(
        "elvish",
        "dot_config/elvish/rc.elv",
        "set E:CACHIX_AUTH_TOKEN = '@@'\n",
        _jwt({"jti": _uuid(), "scopes": "cache"}),
    )
    _plant("xonsh", "dot_xonshrc", "$XONSH_SHOW_TRACEBACK = True\n$HCLOUD_TOKEN = '@@'\n", _of(_ALNUM, 64))
    _plant(
        "powershell",
        "dot_config/powershell/Microsoft.PowerShell_profile.ps1",
        'Set-PSReadLineOption -EditMode Vi\n$env:GH_TOKEN = "@@"\n',
        _token(_GITHUB, 36),
    )
    _plant("dotenv", "projects/private_dot_env", "DEBUG=1\nSECRET_KEY=@@\nALLOWED_HOSTS=*\n", _strong(50))
    _plant(
        "direnv",
        "work/dot_envrc",
        "layout python\nexport DATABASE_URL=postgres://app:@@@db.internal:5432/app\n",
        _of(_ALNUM, 18),
    )
    _plant("direnv", "src/private_dot_envrc", "use flake\nexport CLOUDFLARE_API_TOKEN=@@\n", _of(_URL, 40))
    _plant(
        "environment.d",
        "dot_config/environment.d/60-forge.conf",
        "FORGEJO_URL=https://git.home.arpa\nFORGEJO_TOKEN=@@\n",
        _hex(40),
    )
    _plant("crontab", "dot_config/crontab", "MAILTO=rain\nREPORT_PASSWORD=@@\n0 4 * * * ~/bin/report\n", _human())
    _plant(
        "mise",
        "dot_config/mise/config.toml",
        '[tools]\nnode = "22"\n\n[env]\nLINEAR_API_KEY = "@@"\n',
        "lin" + "_api_" + _of(_ALNUM, 40),
    )
    _plant("makefile", "deploy/Makefile", "HOST := nas\nAPI_TOKEN := @@\n\npush:\n\trsync -a . $(HOST):\n", _hex(48))
    _plant(
        "just", "dot_justfile", 'export DIGITALOCEAN_TOKEN := "@@"\n\nplan:\n    tofu plan\n', "dop" + "_v1_" + _hex(64)
    )

    # --- planted: commands in aliases and scripts -------------------------------------------------------------------------

    _plant(
        "command-line",
        "dot_bash_aliases",
        "alias ll='ls -la'\nalias proddb='mysql -h db1 -u app -p@@ shop'\n",
        _strong(16),
    )
    _plant(
        "command-line", "dot_config/zsh/aliases.zsh", "alias nas=\"sshpass -p '@@' ssh admin@192.168.1.20\"\n", _human()
    )
    _plant(
        "command-line",
        "bin/executable_ttrss",
        "#!/bin/sh\ncurl -s -u rain:@@ https://rss.example.org/api/ | jq .content\n",
        _strong(16),
    )
    _plant(
        "authorization-header",
        "bin/executable_lights",
        """
        #!/bin/sh
        curl -s -X POST -H "Authorization: Bearer @@" \\
          -H "Content-Type: application/json" -d '{"entity_id": "light.desk"}' \\
          http://homeassistant.local:8123/api/services/light/toggle
        """,
        _jwt({"iss": _hex(32), "iat": 1700000000, "exp": 2015360000}),
    )
    _plant(
        "authorization-header",
        "dot_local/bin/executable_gotify",
        '#!/bin/bash\ncurl -fsS "https://push.home.arpa/message" -H \'X-Gotify-Key: @@\' -F "message=$*"\n',
        "A" + _of(_URL, 14),
    )
    _plant(
        "authorization-header",
        "dot_config/restic/hooks/executable_ntfy.sh",
        '#!/bin/sh\ncurl -H "Authorization: Basic @@" -d "backup done" ntfy.example.org/backups\n',
        base64.b64encode(b"rain:" + _strong().encode()).decode(),
    )
    _plant(
        "backup",
        "bin/executable_backup.sh",
        """
        #!/usr/bin/env bash
        set -euo pipefail
        export RESTIC_REPOSITORY=s3:s3.eu-central-003.backblazeb2.com/rain
        export RESTIC_PASSWORD=@@
        restic backup ~ --exclude-file ~/.config/restic/exclude
        """,
        _strong(32),
    )
    _plant(
        "backup",
        "dot_config/systemd/user/executable_borg-nas",
        "#!/bin/sh\nexport BORG_REPO=ssh://nas/./borg\nexport BORG_PASSPHRASE='@@'\nborg create ::{now} ~\n",
        _phrase(5),
    )
    _plant(
        "mount",
        "bin/executable_mount-nas",
        "#!/bin/sh\nsudo mount.cifs -o username=rain,password=@@,uid=1000 //nas/media /mnt/media\n",
        _human(),
    )
    _plant("mount", "dot_smbcredentials", "username=rain\npassword=@@\ndomain=WORKGROUP\n", _human())
    _plant(
        "command-line",
        "bin/executable_rdp",
        "#!/bin/sh\nexec xfreerdp /v:10.0.0.7 /u:rain /p:@@ /dynamic-resolution\n",
        _strong(14),
    )
    _plant(
        "command-line",
        "bin/executable_fix-audio",
        "#!/bin/sh\necho '@@' | sudo -S systemctl restart bluetooth\n",
        _human(),
    )
    _plant(
        "expect",
        "bin/executable_uni-login.exp",
        '#!/usr/bin/expect -f\nspawn ssh s12345@login.uni.example\nexpect "assword:"\nsend "@@\\r"\ninteract\n',
        _human(),
    )
    _plant(
        "command-line",
        "bin/executable_seal",
        '#!/bin/sh\nopenssl enc -aes-256-cbc -pbkdf2 -in "$1" -out "$1.enc" -pass pass:@@\n',
        _strong(24),
    )
    _plant(
        "command-line",
        "bin/executable_unlock-gpg",
        '#!/bin/sh\ngpg --batch --pinentry-mode loopback --passphrase "@@" -d "$1"\n',
        _phrase(3),
    )
    _plant("command-line", "dot_lftprc", "set ftp:ssl-force true\nopen -u webmaster,@@ ftp.example.org\n", _strong(12))
    _plant(
        "webhook",
        "bin/executable_notify-slack",
        '#!/bin/sh\ncurl -X POST -d "{\\"text\\": \\"$1\\"}" @@\n',
        "https://hooks.slack"
        ".com/services/T"
        + _of(string.ascii_uppercase + string.digits, 8)
        + "/B"
        + _of(string.ascii_uppercase + string.digits, 10)
        + "/"
        + _of(_ALNUM, 24),
    )
    _plant(
        "webhook",
        "bin/executable_notify-discord.py",
        'import requests\n\nHOOK = "@@"\nrequests.post(HOOK, json={"content": "up"})\n',
        "https://discord" + ".com/api/webhooks/" + _of(string.digits, 18) + "/" + _of(_URL, 68),
    )
    _plant(
        "telegram",
        "bin/executable_tg",
        '#!/bin/sh\nBOT=@@\ncurl -s "https://api.telegram.org/bot$BOT/sendMessage" -d chat_id=123456 -d text="$*"\n',
        _of(string.digits, 10) + ":" + "AA" + _of(_URL, 33),
    )
    _plant(
        "pushover",
        "dot_local/bin/executable_push",
        '#!/bin/sh\ncurl -s --form-string "token=@@" --form-string "message=$1" https://api.pushover.net/1/messages.json\n',
        "a" + _of(string.ascii_lowercase + string.digits, 29),
    )
    _plant(
        "python",
        "bin/executable_transcribe.py",
        'from deepgram import DeepgramClient\n\nclient = DeepgramClient(api_key="@@")\n',
        _hex(40),
    )
    _plant(
        "python",
        "bin/executable_tv.py",
        'HOST = "192.168.1.40"\nPASSWORD = "@@"\n\n\ndef main() -> None: ...\n',
        _human(),
    )
    _plant(
        "mongo",
        "dot_mongorc.js",
        'DBQuery.shellBatchSize = 50;\ndb.getSiblingDB("admin").auth("root", "@@");\n',
        _strong(18),
    )

    # --- planted: git ----------------------------------------------------------------------------------------------------

    _plant("git-credentials", "private_dot_git-credentials", "https://rain:@@@github.com\n", _token(_GITHUB, 36))
    _plant("git-credentials", "dot_config/git/private_credentials", "https://rain:@@@gitea.home.arpa\n", _human())
    _plant(
        "git-url",
        "dot_gitconfig.tmpl",
        """
        [user]
            name = {{ .name }}
            email = {{ .email }}
        [url "https://oauth2:@@@gitlab.example.org/"]
            insteadOf = https://gitlab.example.org/
        """,
        _token(_GITLAB, 20, _URL),
    )
    _plant(
        "git-extraheader",
        "dot_config/git/config-work",
        '[http "https://dev.azure.com"]\n\textraheader = AUTHORIZATION: Basic @@\n',
        base64.b64encode((":" + _of(string.ascii_lowercase + "234567", 52)).encode()).decode(),
    )
    _plant(
        "git-cookies",
        "private_dot_gitcookies",
        ".googlesource.com\tTRUE\t/\tTRUE\t2147483647\to\tgit-rain.example.com=@@\n",
        "1//0" + _of(_URL, 60),
    )
    _plant("netrc", "private_dot_netrc", "machine api.heroku.com\n  login rain@example.org\n  password @@\n", _uuid())
    _plant("netrc", "private_dot_netrc.tmpl", "machine git.{{ .domain }} login rain password @@\n", _human())
    _plant(
        "authinfo",
        "private_dot_authinfo",
        "machine imap.fastmail.com login rain@example.org port 993 password @@\n",
        _of(string.ascii_lowercase + string.digits, 16),
    )

    # --- planted: mail ---------------------------------------------------------------------------------------------------

    _plant(
        "mutt",
        "dot_muttrc",
        'set imap_user = "rain@example.org"\nset imap_pass = "@@"\nset folder = "imaps://imap.example.org:993"\n',
        _human(),
    )
    _plant(
        "mutt",
        "dot_config/mutt/muttrc",
        'set sort = threads\nset smtp_url = "smtps://rain:@@@mail.example.org:465/"\n',
        _strong(16),
    )
    _plant(
        "mutt",
        "dot_config/neomutt/accounts/work.tmpl",
        'set from = "{{ .email }}"\nset smtp_pass = "{{ if eq .chezmoi.hostname "malphas" }}@@{{ end }}"\n',
        _of(string.ascii_lowercase, 16),
    )
    _plant(
        "msmtp",
        "private_dot_msmtprc",
        "account gmail\nhost smtp.gmail.com\nport 587\nuser rain@example.org\npassword @@\n",
        _of(string.ascii_lowercase, 16),
    )
    _plant(
        "mbsync",
        "private_dot_mbsyncrc",
        'IMAPAccount home\nHost imap.example.org\nUser rain\nPass "@@"\nTLSType IMAPS\n',
        _strong(18),
    )
    _plant(
        "offlineimap",
        "dot_offlineimaprc",
        "[Repository Remote]\ntype = IMAP\nremotehost = imap.example.org\nremoteuser = rain\nremotepass = @@\n",
        _human(),
    )
    _plant(
        "getmail",
        "dot_config/getmail/getmailrc",
        "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = imap.example.org\nusername = rain\npassword = @@\n",
        _human(),
    )
    _plant(
        "fetchmail",
        "private_dot_fetchmailrc",
        "poll pop.example.org proto POP3\n  user 'rain' there with password '@@' is 'rain' here\n",
        _strong(14),
    )
    _plant(
        "aerc",
        "dot_config/aerc/private_accounts.conf",
        "[Home]\nsource = imaps://rain%40example.org:@@@imap.example.org:993\nfrom = Rain <rain@example.org>\n",
        _of(_ALNUM, 16),
    )
    _plant(
        "himalaya",
        "dot_config/himalaya/config.toml",
        '[accounts.home]\nbackend.type = "imap"\nbackend.auth.type = "password"\nbackend.auth.raw = "@@"\n',
        _strong(18),
    )

    # --- planted: chat ---------------------------------------------------------------------------------------------------

    _plant(
        "irssi",
        "dot_irssi/config",
        """
        servers = (
          { address = "irc.libera.chat"; chatnet = "libera"; port = "6697"; use_tls = "yes"; password = "@@"; }
        );
        """,
        _human(),
    )
    _plant(
        "irssi-nickserv",
        "dot_config/irssi/config",
        """
        chatnets = {
          OFTC = { type = "IRC"; autosendcmd = "/^msg nickserv identify @@; wait 2000"; };
        };
        """,
        _human(),
    )
    _plant(
        "weechat",
        "dot_config/weechat/irc.conf",
        '[server]\nlibera.addresses = "irc.libera.chat/6697"\nlibera.sasl_username = "rain"\nlibera.sasl_password = "@@"\n',
        _human(),
    )
    _plant(
        "catgirl", "dot_config/catgirl/libera", "host = irc.libera.chat\nnick = rain\nsasl-plain = rain:@@\n", _human()
    )
    _plant("senpai", "dot_config/senpai/senpai.scfg", 'address chat.sr.ht\nnickname rain\npassword "@@"\n', _strong(22))
    _plant(
        "profanity",
        "dot_local/share/profanity/private_accounts",
        "[rain@jabber.example]\nenabled=true\njid=rain@jabber.example\npassword=@@\n",
        _human(),
    )
    _plant(
        "pidgin",
        "dot_purple/accounts.xml",
        "<account>\n\t<protocol>prpl-jabber</protocol>\n\t<name>rain@jabber.example</name>\n\t<password>@@</password>\n</account>\n",
        _human(),
    )
    _plant(
        "matrix",
        "dot_config/matrix-commander/credentials.json",
        '{"homeserver": "https://matrix.org", "user_id": "@rain:matrix.org", "access_token": "@@"}\n',
        "syt" + "_cmFpbg_" + _of(_ALNUM, 20) + "_" + _of(_ALNUM, 6),
    )
    _plant(
        "mastodon",
        "dot_config/toot/config.json",
        '{\n  "users": {\n    "rain@fosstodon.org": {"instance": "fosstodon.org", "access_token": "@@"}\n  }\n}\n',
        _of(_URL, 43),
    )
    _plant(
        "discord",
        "dot_config/discordo/config.toml",
        'mouse = true\ntoken = "@@"\n',
        "M" + _of(_ALNUM, 25) + "." + _of(_URL, 6) + "." + _of(_URL, 38),
    )
    _plant(
        "slack",
        "dot_config/slack-term/config",
        '{\n    "slack_token": "@@",\n    "sidebar_width": 1\n}\n',
        "xoxp-" + _of(string.digits, 12) + "-" + _of(string.digits, 12) + "-" + _of(string.digits, 12) + "-" + _hex(32),
    )

    # --- planted: clouds, registries, databases -----------------------------------------------------------------------------

    aws_id = "AKIA" + _of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)
    _plant(
        "aws",
        "private_dot_aws/private_credentials",
        f"[default]\naws_access_key_id = {aws_id}\naws_secret_access_key = @@\n",
        _of(_ALNUM + "/+", 40),
    )
    _plant(
        "s3cmd",
        "private_dot_s3cfg",
        "[default]\naccess_key = GOOG1E" + _of(_ALNUM, 18) + "\nsecret_key = @@\nhost_base = storage.example.org\n",
        _of(_ALNUM + "/+", 40),
    )
    _plant(
        "rclone",
        "dot_config/rclone/private_rclone.conf",
        "[nas]\ntype = sftp\nhost = nas\nuser = rain\npass = @@\n",
        _b64url(30),
    )
    _plant(
        "rclone",
        "dot_config/rclone/rclone.conf.tmpl",
        '[gdrive]\ntype = drive\nscope = drive\ntoken = {"access_token":"x","token_type":"Bearer","refresh_token":"@@","expiry":"2024-01-01T00:00:00Z"}\n',
        "1//09" + _of(_URL, 60),
    )
    _plant(
        "rclone",
        "dot_config/rclone/crypt.conf",
        "[secret]\ntype = crypt\nremote = gdrive:crypt\npassword2 = @@\n",
        _b64url(40),
    )
    _plant(
        "docker",
        "private_dot_docker/config.json",
        '{\n  "auths": {\n    "ghcr.io": {\n      "auth": "@@"\n    }\n  }\n}\n',
        base64.b64encode(("rain:" + _token(_GITHUB, 36)).encode()).decode(),
    )
    _plant(
        "kubernetes",
        "private_dot_kube/config",
        "apiVersion: v1\nkind: Config\nusers:\n- name: rain\n  user:\n    token: @@\n",
        _jwt({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:rain"}),
    )
    _plant(
        "kubernetes",
        "dot_kube/homelab.yaml",
        "users:\n- name: admin\n  user:\n    client-key-data: @@\n",
        base64.b64encode(
            (f"-----BEGIN EC {_PRIVATE}-----\n" + _b64(118) + f"\n-----END EC {_PRIVATE}-----\n").encode()
        ).decode(),
    )
    _plant(
        "kubernetes",
        "k8s/grafana-secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: grafana\ndata:\n  admin-password: @@\n",
        base64.b64encode(_strong(20).encode()).decode(),
    )
    _plant(
        "compose",
        "docker/compose.yaml",
        "services:\n  db:\n    image: postgres:17\n    environment:\n      POSTGRES_USER: app\n      POSTGRES_PASSWORD: @@\n",
        _human(),
    )
    _plant(
        "compose",
        "docker/wiki/docker-compose.yml",
        "services:\n  db:\n    image: mariadb\n    environment:\n      - MYSQL_DATABASE=wiki\n      - MYSQL_ROOT_PASSWORD=@@\n",
        _human(),
    )
    _plant("pgpass", "private_dot_pgpass", "localhost:5432:*:rain:@@\n", _human())
    _plant(
        "my.cnf",
        "private_dot_my.cnf",
        "[client]\nuser=rain\npassword=@@\n\n[mysql]\nprompt=\\\\u@\\\\h>\\\\_\n",
        _human(),
    )
    _plant(
        "dsn",
        "dot_config/usql/config.yaml",
        "connections:\n  prod: mysql://app:@@@db.example.org/shop\n",
        _of(_ALNUM, 16),
    )
    _plant(
        "npm", "private_dot_npmrc", "//registry.npmjs.org/:_authToken=@@\nfund=false\n", "npm" + "_" + _of(_ALNUM, 36)
    )
    _plant(
        "npm",
        "work/private_dot_npmrc",
        "registry=https://nexus.example.org/repository/npm/\n_auth=@@\nalways-auth=true\n",
        base64.b64encode(("rain:" + _human()).encode()).decode(),
    )
    _plant(
        "pypi",
        "private_dot_pypirc",
        "[pypi]\nusername = __token__\npassword = @@\n",
        "pypi" + "-AgEIcHlwaS5vcmc" + _of(_URL, 140),
    )
    _plant("cargo", "private_dot_cargo/private_credentials.toml", '[registry]\ntoken = "@@"\n', "cio" + _of(_ALNUM, 32))
    _plant(
        "rubygems", "private_dot_gem/private_credentials", "---\n:rubygems_api_key: @@\n", "rubygems" + "_" + _hex(48)
    )
    _plant(
        "maven",
        "private_dot_m2/settings.xml",
        "<settings>\n  <servers>\n    <server>\n      <id>nexus</id>\n      <username>rain</username>\n      <password>@@</password>\n    </server>\n  </servers>\n</settings>\n",
        _strong(16),
    )
    _plant(
        "gradle",
        "dot_gradle/gradle.properties",
        "org.gradle.jvmargs=-Xmx2g\nossrhUsername=rain\nossrhPassword=@@\n",
        _strong(16),
    )
    _plant(
        "composer",
        "dot_config/composer/auth.json",
        '{\n    "github-oauth": {\n        "github.com": "@@"\n    }\n}\n',
        _token(_GITHUB, 36),
    )
    _plant(
        "nuget",
        "dot_nuget/NuGet/NuGet.Config",
        '<configuration>\n  <packageSourceCredentials>\n    <work>\n      <add key="Username" value="rain" />\n      <add key="ClearTextPassword" value="@@" />\n    </work>\n  </packageSourceCredentials>\n</configuration>\n',
        _of(string.ascii_lowercase + "234567", 52),
    )
    _plant(
        "github-cli",
        "dot_config/gh/private_hosts.yml",
        "github.com:\n    user: rain\n    oauth_token: @@\n    git_protocol: ssh\n",
        _token(_GITHUB_OAUTH, 36),
    )
    _plant(
        "gitlab-cli",
        "dot_config/glab-cli/config.yml",
        "hosts:\n    gitlab.com:\n        api_protocol: https\n        token: @@\n",
        _token(_GITLAB, 20, _URL),
    )
    _plant("hub", "dot_config/hub", "github.com:\n- user: rain\n  oauth_token: @@\n  protocol: https\n", _hex(40))
    _plant("doctl", "dot_config/doctl/config.yaml", "access-token: @@\ncontext: default\n", "dop" + "_v1_" + _hex(64))
    _plant(
        "terraform",
        "private_dot_terraformrc",
        'credentials "app.terraform.io" {\n  token = "@@"\n}\n',
        _of(_ALNUM, 14) + ".atlasv1." + _of(_ALNUM, 67),
    )
    _plant("terraform", "infra/terraform.tfvars", 'region = "nbg1"\nhcloud_token = "@@"\n', _of(_ALNUM, 64))
    _plant(
        "gcloud",
        "dot_config/gcloud/private_application_default_credentials.json",
        '{\n  "client_id": "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com",\n  "type": "authorized_user",\n  "refresh_token": "@@"\n}\n',
        "1//0c" + _of(_URL, 60),
    )
    _plant(
        "gcloud",
        "dot_config/gcloud/legacy-key.json",
        '{\n  "type": "service_account",\n  "project_id": "rain-1",\n  "private_key": "@@",\n  "client_email": "x@rain-1.iam.gserviceaccount.com"\n}\n',
        _armour(_PRIVATE, 600).replace("\n", "\\n") + "\\n",
    )
    _plant(
        "azure",
        "bin/executable_upload-photos",
        '#!/bin/sh\nexport AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=https;AccountName=rain;AccountKey=@@;EndpointSuffix=core.windows.net"\naz storage blob upload-batch -d photos -s ~/Pictures\n',
        _b64(64),
    )
    _plant("vault", "private_dot_vault-token", "@@\n", "hvs" + "." + _of(_URL, 95))
    _plant(
        "huggingface", "private_dot_cache/huggingface/private_token", "@@", "hf" + "_" + _of(string.ascii_letters, 34)
    )
    _plant(
        "hcloud",
        "dot_config/hcloud/cli.toml",
        'active_context = "home"\n\n[[contexts]]\nname = "home"\ntoken = "@@"\n',
        _of(_ALNUM, 64),
    )
    _plant(
        "databricks",
        "private_dot_databrickscfg",
        "[DEFAULT]\nhost = https://x.cloud.databricks.com\ntoken = @@\n",
        "dapi" + _hex(32),
    )
    _plant("sentry", "dot_sentryclirc", "[auth]\ntoken=@@\n", "sntry" + "s_" + _of(_ALNUM, 120))
    _plant(
        "stripe",
        "dot_config/stripe/config.toml",
        "[default]\ndevice_name = 'malphas'\nlive_mode_api_key = '@@'\n",
        "rk" + "_live_" + _of(_ALNUM, 99),
    )
    _plant(
        "supabase",
        "dot_config/supabase/env",
        "SUPABASE_URL=https://abc.supabase.co\nSUPABASE_SERVICE_ROLE_KEY=@@\n",
        _jwt({"iss": "supabase", "role": "service_role"}),
    )
    _plant(
        "sendgrid",
        "dot_config/alerts/config.yml",
        "smtp:\n  host: smtp.sendgrid.net\n  user: apikey\n  pass: @@\n",
        "SG" + "." + _of(_URL, 22) + "." + _of(_URL, 43),
    )
    _plant(
        "onepassword", "dot_config/op/private_env", "OP_SERVICE_ACCOUNT_TOKEN=@@\n", "ops" + "_eyJ" + _of(_ALNUM, 300)
    )
    _plant(
        "bitwarden",
        "dot_config/bw/env.sh",
        "export BW_CLIENTID=user." + _uuid() + "\nexport BW_CLIENTSECRET=@@\n",
        _of(_ALNUM, 30),
    )
    _plant(
        "cloudflare",
        "dot_config/certbot/cloudflare.ini",
        "# Cloudflare API token used by Certbot\ndns_cloudflare_api_token = @@\n",
        _of(_URL, 40),
    )
    _plant(
        "cloudflared",
        "dot_cloudflared/tunnel.json",
        '{"AccountTag":"' + _hex(32) + '","TunnelSecret":"@@","TunnelID":"' + _uuid() + '"}\n',
        _b64(32),
    )
    _plant(
        "ngrok",
        "dot_config/ngrok/ngrok.yml",
        'version: "3"\nagent:\n  authtoken: @@\n',
        _of(_ALNUM, 27) + "_" + _of(_ALNUM, 21),
    )
    _plant(
        "tailscale",
        "dot_config/systemd/user/tailscale-up.service",
        '[Service]\nType=oneshot\nEnvironment="TS_AUTHKEY=@@"\nExecStart=/usr/bin/tailscale up\n',
        "tskey" + "-auth-k" + _of(_ALNUM, 11) + "CNTRL-" + _of(_ALNUM, 32),
    )
    _plant(
        "frp",
        "dot_config/frp/frpc.toml",
        'serverAddr = "vps.example.org"\nserverPort = 7000\nauth.method = "token"\nauth.token = "@@"\n',
        _strong(24),
    )
    _plant(
        "ddns",
        "dot_config/ddclient/ddclient.conf",
        "protocol=dyndns2\nserver=members.dyndns.org\nlogin=rain\npassword='@@'\nhome.example.org\n",
        _human(),
    )

    # --- planted: keys, networks -------------------------------------------------------------------------------------------

    _plant("ssh-key", "private_dot_ssh/private_id_ed25519", "@@\n", _armour("OPENSSH " + _PRIVATE, 350, width=70))
    _plant("ssh-key", "private_dot_ssh/private_id_rsa", "@@\n", _armour("RSA " + _PRIVATE, 1190))
    _plant("tls-key", "dot_config/mosquitto/client.key", "@@\n", _armour(_PRIVATE, 138))
    _plant("gpg-key", "private_dot_gnupg/backup.asc", "@@\n", _armour("PGP PRIVATE KEY" + " BLOCK", 900, "\n"))
    _plant(
        "age-key",
        "dot_config/sops/age/private_keys.txt",
        "# created: 2024-05-01T10:00:00+02:00\n# public key: age1" + _of(_BECH32.lower(), 58) + "\n@@\n",
        "AGE-SECRET" + "-KEY-1" + _of(_BECH32, 58),
    )
    _plant(
        "wireguard",
        "private_dot_config/wireguard/wg0.conf",
        f"[Interface]\nAddress = 10.7.0.2/32\nPrivateKey = @@\n\n[Peer]\nPublicKey = {_b64(32)}\nEndpoint = vpn.example.org:51820\n",
        _b64(32),
    )
    _plant(
        "wireguard",
        "etc/wireguard/phone.conf.tmpl",
        f"[Peer]\nPublicKey = {_b64(32)}\nPresharedKey = @@\nAllowedIPs = {{{{ .wg_net }}}}\n",
        _b64(32),
    )
    _plant(
        "wpa_supplicant",
        "etc/wpa_supplicant/wpa_supplicant.conf",
        'ctrl_interface=/run/wpa_supplicant\nnetwork={\n\tssid="Fern"\n\tpsk="@@"\n\tkey_mgmt=WPA-PSK\n}\n',
        _phrase(3),
    )
    _plant("wpa_supplicant", "etc/wpa_supplicant/cabin.conf", 'network={\n\tssid="cabin"\n\tpsk=@@\n}\n', _hex(64))
    _plant(
        "networkmanager",
        "etc/NetworkManager/system-connections/Fern.nmconnection",
        f"[connection]\nid=Fern\nuuid={_uuid()}\ntype=wifi\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=@@\n",
        _human(),
    )
    _plant(
        "networkmanager",
        "etc/NetworkManager/system-connections/uni.nmconnection",
        "[802-1x]\neap=peap;\nidentity=s12345@uni.example\nphase2-auth=mschapv2\npassword=@@\n",
        _human(),
    )
    _plant("iwd", "var/lib/iwd/Fern.psk", "[Security]\nPassphrase=@@\n", _human())
    _plant("hostapd", "etc/hostapd/hostapd.conf", "interface=wlan0\nssid=malphas\nwpa=2\nwpa_passphrase=@@\n", _human())
    _plant("openvpn", "dot_config/openvpn/private_auth.txt", "p1234567\n@@\n", _strong(16))
    _plant(
        "otp",
        "dot_config/otp/uris.txt",
        "otpauth://totp/GitHub:rain?secret=@@&issuer=GitHub\n",
        _of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32),
    )
    _plant(
        "vpn", "dot_config/nmcli/work-vpn.sh", "nmcli connection modify work vpn.secrets 'password=@@'\n", _strong(16)
    )

    # --- planted: systemd, nix, ansible -------------------------------------------------------------------------------------

    _plant(
        "systemd",
        "dot_config/systemd/user/rclone-mount.service",
        "[Unit]\nAfter=network-online.target\n\n[Service]\nEnvironment=RCLONE_CONFIG_PASS=@@\nExecStart=/usr/bin/rclone mount gdrive: %h/gdrive\n",
        _strong(20),
    )
    _plant(
        "systemd",
        "dot_config/systemd/user/gammu.service",
        "[Service]\nExecStart=/usr/bin/smsd --user rain --password @@ --listen 127.0.0.1\n",
        _strong(14),
    )
    _plant(
        "nix",
        "home.nix",
        '{ pkgs, ... }:\n{\n  home.packages = [ pkgs.ripgrep ];\n  home.sessionVariables.OPENROUTER_API_KEY = "@@";\n}\n',
        "sk" + "-or-v1-" + _hex(64),
    )
    _plant(
        "nix",
        "hosts/malphas/users.nix",
        '{ ... }:\n{\n  users.users.rain = {\n    isNormalUser = true;\n    password = "@@";\n  };\n}\n',
        _human(),
    )
    _plant(
        "nix",
        "hosts/malphas/network.nix",
        '{ ... }:\n{\n  networking.wireless.networks."Fern".psk = "@@";\n}\n',
        _phrase(2).replace(" ", ""),
    )
    _plant(
        "nix",
        "modules/wireguard.nix",
        '{ ... }:\n{\n  networking.wg-quick.interfaces.wg0 = {\n    address = [ "10.7.0.2/32" ];\n    privateKey = "@@";\n  };\n}\n',
        _b64(32),
    )
    _plant(
        "nix",
        "dot_config/nix/nix.conf",
        "experimental-features = nix-command flakes\naccess-tokens = github.com=@@\n",
        _token(_GITHUB, 36),
    )
    _plant(
        "nix",
        "modules/paperless.nix",
        '{ ... }:\n{\n  services.paperless.settings = {\n    PAPERLESS_ADMIN_USER = "rain";\n    PAPERLESS_SECRET_KEY = "@@";\n  };\n}\n',
        _strong(40),
    )
    _plant(
        "nix",
        "modules/spotify.nix",
        '{ ... }:\n{\n  services.spotifyd = {\n    enable = true;\n    settings.global = { username = "rain"; password = "@@"; };\n  };\n}\n',
        _human(),
    )
    _plant("ansible", "ansible/group_vars/all.yml", "timezone: Europe/Berlin\nansible_become_pass: @@\n", _human())
    _plant("ansible", "ansible/hosts.ini", "[nas]\n192.168.1.20 ansible_user=admin ansible_ssh_pass=@@\n", _human())
    _plant(
        "ansible",
        "ansible/roles/nextcloud/defaults/main.yml",
        'nextcloud_port: 8080\nnextcloud_db_password: "@@"\n',
        _strong(20),
    )
    _plant("ansible", "private_dot_vault_pass.txt", "@@\n", _human())

    # --- planted: applications ----------------------------------------------------------------------------------------------

    _plant("home-assistant", "homeassistant/secrets.yaml", "latitude: 52.5\nmqtt_password: @@\n", _human())
    _plant("esphome", "esphome/desk.yaml", 'api:\n  encryption:\n    key: "@@"\nlogger:\n', _b64(32))
    _plant("esphome", "esphome/lamp.yaml", 'wifi:\n  ssid: "Fern"\n  password: "@@"\n', _human())
    _plant(
        "taskwarrior",
        "dot_taskrc",
        "data.location=~/.task\nsync.server.client_id=" + _uuid() + "\nsync.encryption_secret=@@\n",
        _strong(24),
    )
    _plant(
        "spotifyd",
        "dot_config/spotifyd/spotifyd.conf",
        '[global]\nusername = "rain"\npassword = "@@"\nbackend = "pulseaudio"\n',
        _human(),
    )
    _plant(
        "mpd",
        "dot_config/mpd/mpd.conf",
        'music_directory "~/music"\nbind_to_address "any"\npassword "@@@read,add,control,admin"\n',
        _human(),
    )
    _plant(
        "mpdscribble",
        "dot_mpdscribble/mpdscribble.conf",
        "[last.fm]\nurl = https://post.audioscrobbler.com/\nusername = rain\npassword = @@\n",
        _human(),
    )
    _plant(
        "pianobar",
        "dot_config/pianobar/config",
        "user = rain@example.org\npassword = @@\naudio_quality = high\n",
        _human(),
    )
    _plant(
        "beets",
        "dot_config/beets/config.yaml",
        "plugins: chroma lastgenre\nacoustid:\n    apikey: @@\n",
        _of(_ALNUM, 10),
    )
    _plant(
        "listenbrainz",
        "dot_config/rescrobbled/config.toml",
        'lastfm-key = ""\n\n[[listenbrainz]]\ntoken = "@@"\n',
        _uuid(),
    )
    _plant(
        "weather",
        "dot_config/i3status-rust/config.toml",
        '[[block]]\nblock = "weather"\n[block.service]\nname = "openweathermap"\napi_key = "@@"\ncity_id = "2950159"\n',
        _hex(32),
    )
    _plant(
        "weather",
        "dot_config/polybar/scripts/executable_openweathermap.sh",
        '#!/bin/sh\n\nKEY="@@"\nCITY="2950159"\nUNITS="metric"\n',
        _hex(32),
    )
    _plant(
        "weather",
        "dot_config/waybar/config.jsonc",
        '{\n  "custom/weather": {\n    "exec": "curl -s \'https://api.openweathermap.org/data/2.5/weather?q=Berlin&appid=@@\' | jq .main.temp",\n    "interval": 900\n  }\n}\n',
        _hex(32),
    )
    _plant(
        "weather",
        "dot_conkyrc",
        'conky.text = [[\n${execi 900 curl -s "https://dataservice.accuweather.com/currentconditions/v1/178087?apikey=@@"}\n]]\n',
        _of(_ALNUM, 32),
    )
    _plant("tmux", "dot_tmux.conf", "set -g mouse on\nset -g @forecast-api-key '@@'\n", _hex(32))
    _plant(
        "vim",
        "dot_vimrc",
        "set number\nlet g:openai_token = '@@'\nPlug 'tpope/vim-fugitive'\n",
        "sk" + "-" + _of(_ALNUM, 20) + "T3" + "BlbkFJ" + _of(_ALNUM, 20),
    )
    _plant(
        "vim",
        "dot_config/nvim/lua/plugins/stats.lua",
        'return {\n  "codestats/codestats.nvim",\n  config = function() require("codestats").setup({ token = "@@" }) end,\n}\n',
        "SFMyNTY." + _of(_URL, 60),
    )
    _plant("vim", "dot_config/nvim/init.lua", 'vim.g.mapleader = " "\nvim.g.leetcode_password = "@@"\n', _human())
    _plant("wakatime", "dot_wakatime.cfg", "[settings]\napi_key = @@\ndebug = false\n", "waka" + "_" + _uuid())
    _plant(
        "emacs",
        "dot_emacs.d/init.el",
        '(setq inhibit-startup-screen t)\n(setq org-trello-access-token "@@")\n',
        _hex(64),
    )
    _plant(
        "emacs",
        "dot_config/doom/config.el",
        '(after! circe\n  (set-irc-server! "irc.libera.chat"\n    \'(:tls t :port 6697 :nick "rain" :sasl-username "rain" :sasl-password "@@")))\n',
        _human(),
    )
    _plant(
        "emacs",
        "dot_config/emacs/lisp/chat.el",
        '(slack-register-team :name "work" :default t :token "@@")\n',
        "xoxc-" + _of(string.digits, 12) + "-" + _of(string.digits, 12) + "-" + _of(string.digits, 12) + "-" + _hex(64),
    )
    _plant(
        "vscode",
        "dot_config/Code/User/settings.json",
        '{\n  "editor.fontSize": 13,\n  "sqltools.connections": [\n    {"driver": "PostgreSQL", "server": "db", "username": "app", "password": "@@"}\n  ]\n}\n',
        _human(),
    )
    _plant(
        "zed",
        "dot_config/zed/settings.json",
        '{\n  "context_servers": {\n    "github": {"settings": {"github_personal_access_token": "@@"}}\n  }\n}\n',
        _GITHUB_FINE + _of(_ALNUM, 22) + "_" + _of(_ALNUM, 59),
    )
    _plant(
        "mcp",
        "dot_cursor/mcp.json",
        '{\n  "mcpServers": {\n    "brave": {"command": "npx", "args": ["-y", "brave-mcp"], "env": {"BRAVE_API_KEY": "@@"}}\n  }\n}\n',
        "BSA" + _of(_URL, 28),
    )
    _plant(
        "mcp",
        "dot_config/claude/context7.json",
        '{\n  "context7": {\n    "command": "npx",\n    "args": ["-y", "@upstash/context7-mcp", "--api-key", "@@"]\n  }\n}\n',
        "ctx7sk-" + _uuid(),
    )
    _plant(
        "llm",
        "dot_config/aichat/config.yaml",
        "model: groq:llama\nclients:\n- type: openai-compatible\n  name: groq\n  api_key: @@\n",
        "gsk" + "_" + _of(_ALNUM, 52),
    )
    _plant(
        "llm",
        "dot_continue/config.json",
        '{\n  "models": [\n    {"title": "DeepSeek", "provider": "deepseek", "apiKey": "@@"}\n  ]\n}\n',
        "sk" + "-" + _hex(32),
    )
    _plant(
        "newsboat",
        "dot_config/newsboat/config",
        'urls-source "ttrss"\nttrss-login "rain"\nttrss-password "@@"\n',
        _human(),
    )
    _plant(
        "syncthing",
        "dot_config/syncthing/config.xml",
        '<configuration version="37">\n  <gui enabled="true">\n    <address>127.0.0.1:8384</address>\n    <apikey>@@</apikey>\n  </gui>\n</configuration>\n',
        _of(_ALNUM, 32),
    )
    _plant(
        "aria2", "dot_config/aria2/aria2.conf", "enable-rpc=true\nrpc-secret=@@\nmax-concurrent-downloads=4\n", _human()
    )
    _plant("deluge", "dot_config/deluge/auth", "localclient:@@:10\n", _hex(40))
    _plant("davfs2", "dot_davfs2/private_secrets", "https://cloud.example.org/remote.php/webdav rain @@\n", _strong(16))
    _plant(
        "vdirsyncer",
        "dot_config/vdirsyncer/config",
        '[storage dav]\ntype = "caldav"\nurl = "https://dav.example.org/"\nusername = "rain"\npassword = "@@"\n',
        _strong(18),
    )
    _plant(
        "filezilla",
        "dot_config/filezilla/sitemanager.xml",
        '<FileZilla3><Servers><Server>\n<Host>ftp.example.org</Host>\n<User>rain</User>\n<Pass encoding="base64">@@</Pass>\n</Server></Servers></FileZilla3>\n',
        base64.b64encode(_strong(14).encode()).decode(),
    )
    _plant(
        "remmina",
        "dot_local/share/remmina/work.remmina",
        "[remmina]\nname=work\nserver=10.0.0.7\nusername=rain\npassword=@@\n",
        _b64(24),
    )
    _plant("grafana", "docker/grafana/grafana.ini", "[security]\nadmin_user = admin\nadmin_password = @@\n", _human())
    _plant(
        "transmission",
        "dot_config/transmission-remote/netrc.conf",
        "rpc-username = rain\nrpc-password = @@\n",
        _human(),
    )
    _plant("calcurse", "dot_config/calcurse/caldav/config", "[Auth]\nUsername = rain\nPassword = @@\n", _strong(16))

    # --- planted: chezmoi's own ---------------------------------------------------------------------------------------------

    _plant("chezmoi-data", ".chezmoidata.yaml", "name: Rain\ndesktop: sway\nacoustid_api: @@\n", _of(_ALNUM, 10))
    _plant(
        "chezmoi-config",
        ".chezmoi.toml.tmpl",
        '[data]\n    email = "rain@example.org"\n    smtp_password = "@@"\n',
        _human(),
    )
    _plant(
        "template-literal",
        "dot_config/hass/config.tmpl",
        '{{- $token := "@@" -}}\nserver: http://hass.local\ntoken: {{ $token }}\n',
        _jwt({"iss": _hex(32)}),
    )
    _plant(
        "template-literal",
        "dot_config/wallabag/config.json.tmpl",
        '{\n  "url": "https://wallabag.example.org",\n  "client_secret": "{{ .wallabag_secret | default "@@" }}"\n}\n',
        _of(string.ascii_lowercase + string.digits, 50),
    )
    _plant(
        "comment",
        "private_dot_ssh/config",
        "Host nas\n  HostName 192.168.1.20\n  User admin\n  # password: @@\n",
        _human(),
    )
    _plant(
        "notes",
        "docs/SETUP.md",
        "# New machine\n\n1. Install git.\n2. Join the wifi: network Fern, password `@@`.\n3. `chezmoi init --apply rain`\n",
        _human(),
    )

    # --- decoys: chezmoi's functions for password managers ------------------------------------------------------------------

    for _name, _call in {
        "pass": '{{ pass "mail/work" }}',
        "passRaw": '{{ passRaw "mail/work" | trim }}',
        "passFields": '{{ (passFields "web/github").token }}',
        "gopass": '{{ gopass "web/github" }}',
        "gopassRaw": '{{ gopassRaw "web/github" | splitList "\\n" | first }}',
        "onepasswordRead": '{{ onepasswordRead "op://Personal/GitHub/credential" | trim }}',
        "onepassword": '{{ (index (onepassword "cjyp3kqv4qmyq3ztwfvzexample").fields 1).value }}',
        "onepasswordDetailsFields": '{{ (onepasswordDetailsFields "GitHub").password.value }}',
        "onepasswordDocument": '{{ onepasswordDocument "ssh key" "Personal" }}',
        "bitwarden": '{{ (bitwarden "item" "github.com").login.password }}',
        "bitwardenFields": '{{ (bitwardenFields "item" "' + _uuid() + '").token.value }}',
        "bitwardenSecrets": '{{ (bitwardenSecrets "' + _uuid() + '" .accessToken).value }}',
        "bitwardenAttachment": '{{ bitwardenAttachment "id_ed25519" "' + _uuid() + '" }}',
        "rbw": '{{ (rbw "github.com").data.password }}',
        "rbwFields": '{{ (rbwFields "github.com").api_key.value }}',
        "keepassxc": '{{ (keepassxc "github.com").Password }}',
        "keepassxcAttribute": '{{ keepassxcAttribute "SSH Key" "private-key" }}',
        "keyring": '{{ keyring "github" .github.user }}',
        "lastpass": '{{ (index (lastpass "GitHub") 0).password }}',
        "dashlanePassword": '{{ (index (dashlanePassword "filter") 0).password }}',
        "doppler": '{{ doppler "GITHUB_TOKEN" "dotfiles" "personal" }}',
        "vault": '{{ (vault "secret/data/github").data.data.token }}',
        "hcpVaultSecret": '{{ hcpVaultSecret "github_token" "dotfiles" }}',
        "awsSecretsManager": '{{ (awsSecretsManager "github").token }}',
        "azureKeyVault": '{{ azureKeyVault "github-token" "rain-vault" }}',
        "ejsonDecrypt": '{{ (ejsonDecrypt "secrets.ejson").github_token }}',
        "secret": '{{ secret "read" "github/token" }}',
        "protonPass": '{{ protonPass "pass://Personal/GitHub/password" }}',
        "include": '{{ include "/run/secrets/github_token" | trim }}',
        "output": '{{ output "op" "read" "op://Personal/GitHub/token" | trim }}',
        "env": '{{ env "GITHUB_TOKEN" }}',
        "variable": "{{ .github.token }}",
        "decrypt": '{{ include ".secrets/github.age" | decrypt | trim }}',
        "fallback": '{{ or (env "GITHUB_TOKEN") (onepasswordRead "op://Personal/GitHub/credential") "" }}',
    }.items():
        _decoy(
            f"template-{_name}",
            f"dot_config/managers/{_name}.conf.tmpl",
            f"[github]\nuser = rain\ntoken = {_call}\n",
        )

    _decoy(
        "template-prompt",
        ".chezmoi.yaml.tmpl",
        '{{- $token := promptStringOnce . "github_token" "GitHub token (empty for none)" -}}\ndata:\n  github_token: {{ $token | quote }}\n',
    )
    _decoy(
        "template-quoted",
        "dot_netrc.tmpl",
        'machine github.com login rain password {{ (bitwarden "item" "github").login.password }}\nmachine api.github.com\n  login rain\n  password {{ pass "github/token" }}\n',
    )
    _decoy(
        "template-if",
        "dot_config/spotifyd/premium.conf.tmpl",
        '[global]\nusername = "rain"\n{{ if .personal }}password = {{ onepasswordRead "op://Personal/Spotify/password" | quote }}{{ end }}\n',
    )
    _decoy("template-url", "dot_git-credentials.tmpl", 'https://rain:{{ keyring "github" "rain" }}@github.com\n')
    _decoy(
        "template-header",
        "dot_config/gl/config.tmpl",
        'curl -H "Authorization: Bearer {{ (vault "secret/gl").data.token }}" https://gitlab.com\n',
    )
    _decoy(
        "template-data",
        ".chezmoidata/keys.toml",
        '[github]\ntoken_item = "op://Personal/GitHub/credential"\n[ssh]\nkey_name = "id_ed25519_personal"\n',
    )

    # --- decoys: references at run time ---------------------------------------------------------------------------------------

    for _name, _line in {
        "pass-show": 'export GITHUB_TOKEN="$(pass show github/token)"',
        "op-read": "export OPENAI_API_KEY=$(op read 'op://Personal/OpenAI/credential' --no-newline)",
        "op-reference": 'export ANTHROPIC_API_KEY="op://Personal/Anthropic/api key"',
        "security": 'export HOMEBREW_GITHUB_API_TOKEN=$(security find-generic-password -a "$USER" -s "homebrew-github" -w)',
        "secret-tool": "export TODOIST_TOKEN=`secret-tool lookup service todoist key token`",
        "cat": "export HASS_TOKEN=$(<~/.config/hass/token)",
        "cat-run": 'export ACOUSTID_API="$(cat /run/secrets/acoustid_api 2>/dev/null)"',
        "bw-get": 'export BW_SESSION="$(bw unlock --raw)"',
        "gopass-show": "export RESTIC_PASSWORD=$(gopass show -o backup/restic)",
        "command-variable": 'export RESTIC_PASSWORD_COMMAND="pass show backup/restic"',
        "borg-passcommand": "export BORG_PASSCOMMAND='secret-tool lookup borg-repository home'",
        "file-variable": "export RESTIC_PASSWORD_FILE=$HOME/.config/restic/password",
        "default-empty": 'export GITHUB_TOKEN="${GITHUB_TOKEN:-}"',
        "required": ': "${HCLOUD_TOKEN:?set HCLOUD_TOKEN first}"',
        "other-variable": "export GH_TOKEN=$GITHUB_TOKEN",
        "empty": "export OPENAI_API_KEY=",
        "empty-quotes": "export OPENAI_API_KEY=''",
        "unset": "unset GITHUB_TOKEN AWS_SECRET_ACCESS_KEY",
        "store-dir": 'export PASSWORD_STORE_DIR="$XDG_DATA_HOME/password-store"',
        "store-length": "export PASSWORD_STORE_GENERATED_LENGTH=32 PASSWORD_STORE_CLIP_TIME=20",
        "store-key": "export PASSWORD_STORE_KEY=" + _hex(40).upper(),
        "askpass": "export SSH_ASKPASS=/usr/lib/ssh/x11-ssh-askpass SSH_ASKPASS_REQUIRE=prefer",
        "keytimeout": "export KEYTIMEOUT=1",
        "histignore": "export HISTIGNORE='*password*:*secret*:export *TOKEN*'",
        "gh-auth": "export GITHUB_TOKEN=$(gh auth token)",
        "aws-vault": 'alias tf="aws-vault exec home -- tofu"',
        "genpass": "alias genpass='openssl rand -base64 24 | tr -d /+='",
        "pwgen": "alias pw='pwgen -sy 24 1'",
        "read-prompt": 'read -rsp "Password for $user: " password; echo',
        "pass-alias": "alias passgit='pass git push'",
        "curl-variable": 'curl -sH "Authorization: token $GITHUB_TOKEN" https://api.github.com/user',
        "curl-substitution": 'curl -sH "Authorization: Bearer $(oauth2l fetch drive)" https://www.googleapis.com/drive/v3/files',
        "mysql-prompt": "alias db='mysql -h db1 -u app -p shop'",
        "sshpass-env": "SSHPASS=$(pass nas/admin) sshpass -e ssh nas",
        "age-path": 'export SOPS_AGE_KEY_FILE="$XDG_CONFIG_HOME/sops/age/keys.txt"',
        "gpg-recipient": "alias seal='gpg --encrypt --recipient 0x" + _hex(16).upper() + "'",
        "url-variable": 'export DATABASE_URL="postgres://$DB_USER:$DB_PASSWORD@localhost:5432/app"',
        "url-local": "export REDIS_URL=redis://localhost:6379/0",
        "key-path": "KEYRING=/etc/apt/keyrings/1password-archive-keyring.gpg",
        "sudo-askpass": 'export SUDO_ASKPASS="$HOME/.local/bin/rofi-askpass"',
        "token-file": 'TOKEN_FILE="${XDG_STATE_HOME:-$HOME/.local/state}/hass/token"',
        "tokens-array": "local -a tokens=(${(z)BUFFER}); local last_token=$tokens[-1]",
        "test-nonempty": '[ -n "$API_KEY" ] || { echo "API_KEY is not set" >&2; exit 1; }',
        "jq": 'token=$(jq -r .access_token < "$cache")',
    }.items():
        _decoy(f"shell-{_name}", f"dot_config/shell/{_name}.sh", f"# shell\n{_line}\n")

    _decoy(
        "fish-command",
        "dot_config/fish/conf.d/keys.fish",
        "set -gx GITHUB_TOKEN (op read op://Personal/GitHub/token)\nset -gx GH_TOKEN $GITHUB_TOKEN\nset -q OPENAI_API_KEY; or set -gx OPENAI_API_KEY (cat ~/.secrets/openai)\n",
    )
    _decoy(
        "fish-completion",
        "dot_config/fish/completions/goose.fish",
        "complete -c goose -l bot-token -d 'Bot token for the gateway platform' -r\ncomplete -c goose -l auth-token -d 'Authentication token to secure the web interface' -r\ncomplete -c http -l cert-key-pass -x -d 'Passphrase for the given private key'\n",
    )
    _decoy(
        "fish-tokens",
        "dot_config/fish/functions/complete_tokens.fish",
        "set -l tokens (commandline -opc)\nset -l token (commandline -ct)\nset -l key (string join \\x1f -- $tokens)\n",
    )
    _decoy(
        "zsh-completion",
        "dot_config/zsh/completions/_flyctl",
        "#compdef flyctl\n_arguments \\\n  '(-t --access-token)'{-t,--access-token}'[Fly API access token]:token:' \\\n  '--password[Password for the registry]:password:_files'\n",
    )
    _decoy(
        "nushell-command",
        "dot_config/nushell/keys.nu",
        "$env.OPENAI_API_KEY = (^pass show openai | str trim)\n$env.GITHUB_TOKEN = (open ~/.secrets/github | str trim)\n",
    )
    _decoy(
        "direnv-dotenv",
        "play/dot_envrc",
        "use flake\ndotenv_if_exists .env.local\nsource_env_if_exists ~/.secrets/play.sh\nexport AWS_PROFILE=play\n",
    )
    _decoy(
        "dotenv-op",
        "play/dot_env.op",
        "OPENAI_API_KEY=op://Private/OpenAI/credential\nDB_PASSWORD=op://Private/DB/password\n",
    )
    _decoy(
        "dotenv-example",
        "play/dot_env.example",
        "OPENAI_API_KEY=your-api-key-here\nDB_PASSWORD=changeme\nJWT_SECRET=<generate with openssl rand -hex 32>\nSTRIPE_KEY=sk_test_...\n",
    )

    # --- decoys: mail, chat, network, with commands --------------------------------------------------------------------------

    _decoy(
        "mail-command",
        "dot_mbsyncrc",
        'IMAPAccount home\nHost imap.example.org\nUser rain\nPassCmd "pass show mail/home"\nTLSType IMAPS\n',
    )
    _decoy(
        "mail-command",
        "dot_config/msmtp/config",
        'account home\nhost smtp.example.org\nuser rain\npasswordeval "secret-tool lookup host smtp.example.org"\n',
    )
    _decoy(
        "mail-command",
        "dot_config/offlineimap/config",
        "[Repository R]\nremoteuser = rain\nremotepasseval = get_pass('mail/home')\n",
    )
    _decoy(
        "mail-command",
        "dot_config/aerc/accounts.conf",
        "[Home]\nsource = imaps://rain@imap.example.org\nsource-cred-cmd = pass mail/home\noutgoing-cred-cmd = pass mail/home\n",
    )
    _decoy(
        "mail-command",
        "dot_config/himalaya/work.toml",
        '[accounts.work]\nbackend.auth.type = "password"\nbackend.auth.cmd = "pass show mail/work"\n',
    )
    _decoy(
        "mail-command",
        "dot_config/neomutt/neomuttrc",
        'set imap_user = "rain"\nset imap_pass = "`pass show mail/home`"\nset my_pass = `gpg -dq ~/.mail.gpg`\nset smtp_pass = $imap_pass\nsource "gpg -dq $HOME/.mutt/passwords.gpg |"\n',
    )
    _decoy(
        "mail-command",
        "dot_config/getmail/work",
        '[retriever]\nusername = rain\npassword_command = ("/usr/bin/pass", "mail/work")\n',
    )
    _decoy(
        "mail-command",
        "dot_config/meli/config.toml",
        '[accounts.home]\nserver_username = "rain"\nserver_password_command = "pass show mail/home"\n',
    )
    _decoy(
        "chat-secured",
        "dot_weechat/irc.conf",
        '[server]\nlibera.sasl_username = "rain"\nlibera.sasl_password = "${sec.data.libera}"\nlibera.sasl_mechanism = plain\n',
    )
    _decoy(
        "chat-defaults",
        "dot_weechat/plugins.conf",
        '[server_default]\nsasl_password = ""\nsasl_key = ""\ntls_password = ""\nnicks_alternate = on\n[look]\nnick_completion_smart = speakers\n',
    )
    _decoy(
        "vdirsyncer-fetch",
        "dot_vdirsyncer/config",
        '[storage dav]\nusername = "rain"\npassword.fetch = ["command", "pass", "dav/home"]\n',
    )
    _decoy(
        "khard-command",
        "dot_config/todoman/config.py",
        'path = "~/.calendars/*"\n# the password is in vdirsyncer\'s config\ndefault_list = "home"\n',
    )
    _decoy(
        "rclone-command",
        "dot_config/rclone/README",
        "rclone asks for the configuration password.\nUse --password-command 'pass rclone/config'.\n",
    )
    _decoy(
        "newsboat-command",
        "dot_newsboat/config",
        'urls-source "miniflux"\nminiflux-login "rain"\nminiflux-passwordeval "pass show miniflux"\nminiflux-tokenfile "~/.config/newsboat/token"\n',
    )
    _decoy(
        "nm-flags",
        "etc/NetworkManager/system-connections/guest.nmconnection",
        f"[connection]\nid=guest\nuuid={_uuid()}\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk-flags=1\n\n[802-1x]\npassword-flags=1\n",
    )
    _decoy("wpa-open", "etc/wpa_supplicant/open.conf", 'network={\n\tssid="hotel"\n\tkey_mgmt=NONE\n\tpriority=1\n}\n')
    _decoy(
        "wireguard-postup",
        "etc/wireguard/wg1.conf",
        f"[Interface]\nAddress = 10.8.0.2/32\nPostUp = wg set %i private-key /etc/wireguard/%i.key\n\n[Peer]\nPublicKey = {_b64(32)}\nPresharedKeyFile = /run/secrets/psk\n",
    )
    _decoy(
        "ssh-config",
        "dot_ssh/config",
        'Host *\n  IdentityFile ~/.ssh/id_ed25519\n  IdentitiesOnly yes\n  PasswordAuthentication no\n  KbdInteractiveAuthentication no\n  IdentityAgent "~/.1password/agent.sock"\n  AddKeysToAgent yes\n',
    )
    _decoy(
        "gpg-agent",
        "private_dot_gnupg/gpg-agent.conf",
        "default-cache-ttl 600\nmax-cache-ttl 7200\npinentry-program /usr/bin/pinentry-gnome3\nenable-ssh-support\n",
    )
    _decoy(
        "gpg-conf",
        "private_dot_gnupg/gpg.conf",
        f"default-key 0x{_hex(16).upper()}\nkeyid-format 0xlong\nwith-fingerprint\nkeyserver hkps://keys.openpgp.org\n# {' '.join(textwrap.wrap(_hex(40).upper(), 4))}\n",
    )
    _decoy("gpg-sshcontrol", "private_dot_gnupg/sshcontrol", f"# keygrips\n{_hex(40).upper()} 0\n")
    _decoy(
        "git-credential-helper",
        "dot_config/git/config",
        f'[credential]\n\thelper = osxkeychain\n[credential "https://github.com"]\n\thelper = !gh auth git-credential\n[user]\n\tsigningkey = {_hex(16).upper()}\n[gpg "ssh"]\n\tallowedSignersFile = ~/.config/git/allowed_signers\n',
    )
    _decoy(
        "git-signing-ssh",
        "dot_gitconfig-home",
        "[user]\n\tsigningkey = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
        + _of(_ALNUM + "+/", 43)
        + "\n[commit]\n\tgpgsign = true\n",
    )
    _decoy(
        "netrc-machine",
        "dot_config/netrc.example",
        "machine example.org\n  login your-username\n  password your-password\n",
    )
    _decoy(
        "docker-store",
        "dot_docker/config.json",
        '{\n  "auths": {"ghcr.io": {}},\n  "credsStore": "secretservice",\n  "credHelpers": {"123456789012.dkr.ecr.eu-central-1.amazonaws.com": "ecr-login"}\n}\n',
    )
    _decoy(
        "kube-exec",
        "dot_kube/config",
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: "
        + base64.b64encode(_armour("CERTIFICATE", 420).encode()).decode()
        + "\n    server: https://10.0.0.1:6443\nusers:\n- name: rain\n  user:\n    exec:\n      command: kubelogin\n      args: [get-token, --login, azurecli]\n",
    )
    _decoy(
        "aws-config",
        "dot_aws/config",
        "[profile home]\nsso_start_url = https://rain.awsapps.com/start\nsso_account_id = 123456789012\ncredential_process = op-aws home\nrole_arn = arn:aws:iam::123456789012:role/admin\n",
    )
    _decoy(
        "npm-variable",
        "dot_npmrc",
        "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nprefix=~/.local\nengine-strict=true\n",
    )
    _decoy("pypi-keyring", "dot_pypirc", "[distutils]\nindex-servers = pypi\n\n[pypi]\nusername = __token__\n")
    _decoy(
        "cargo-provider",
        "dot_cargo/config.toml",
        '[registry]\nglobal-credential-providers = ["cargo:libsecret"]\n\n[registries.work]\ntoken = { from-env = "WORK_TOKEN" }\nindex = "sparse+https://cargo.example.org/"\n',
    )
    _decoy(
        "maven-variable",
        "dot_m2/settings.xml",
        "<settings><servers><server>\n<id>nexus</id>\n<username>${env.NEXUS_USER}</username>\n<password>${env.NEXUS_PASSWORD}</password>\n</server></servers></settings>\n",
    )
    _decoy(
        "terraform-variable",
        "infra/main.tf",
        'variable "hcloud_token" {\n  sensitive = true\n}\n\nprovider "hcloud" {\n  token = var.hcloud_token\n}\n',
    )
    _decoy(
        "mpd-nopassword",
        "dot_config/mpd/simple.conf",
        '# password "password@read,add,control,admin"\ndefault_permissions "read,add,control"\nbind_to_address "~/.config/mpd/socket"\n',
    )

    # --- decoys: encrypted ----------------------------------------------------------------------------------------------------

    def _enc(kind: str = "str") -> str:
        return f"ENC[AES256_GCM,data:{_b64(18)},iv:{_b64(32)},tag:{_b64(16)},type:{kind}]"

    age_recipient = "age1" + _of(_BECH32.lower(), 58)
    _decoy(
        "sops-yaml",
        "secrets/home.yaml",
        f"smtp_password: {_enc()}\nhass_token: {_enc()}\nsops:\n    age:\n        - recipient: {age_recipient}\n          enc: |\n"
        + textwrap.indent(_armour("AGE ENCRYPTED FILE", 200), " " * 12)
        + f"\n    lastmodified: '2025-01-01T00:00:00Z'\n    mac: {_enc()}\n    version: 3.9.4\n",
    )
    _decoy(
        "sops-json",
        "secrets/work.json",
        f'{{\n\t"api_key": "{_enc()}",\n\t"sops": {{"mac": "{_enc()}", "pgp": [{{"fp": "{_hex(40).upper()}"}}], "version": "3.9.4"}}\n}}\n',
    )
    _decoy(
        "sops-env",
        "secrets/app.env",
        f"DB_PASSWORD={_enc()}\nSECRET_KEY={_enc()}\nsops_mac={_enc()}\nsops_version=3.9.4\nsops_age__list_0__map_recipient={age_recipient}\n",
    )
    _decoy("sops-ini", "secrets/app.ini", f"[mail]\npassword = {_enc()}\n\n[sops]\nmac = {_enc()}\nversion = 3.9.4\n")
    _decoy(
        "sops-rules",
        "play/dot_sops.yaml",
        f"keys:\n  - &rain {age_recipient}\n  - &malphas age1{_of(_BECH32.lower(), 58)}\ncreation_rules:\n  - path_regex: secrets/[^/]+\\.yaml$\n    key_groups:\n      - age: [*rain, *malphas]\n",
    )
    _decoy("age-armour", "encrypted_private_dot_authinfo.age", _armour("AGE ENCRYPTED FILE", 420) + "\n")
    _decoy("gpg-armour", "encrypted_private_dot_netrc.asc", _armour("PGP MESSAGE", 620, "\n") + "\n")
    _decoy("gpg-public", "dot_config/keys/rain.asc", _armour("PGP PUBLIC KEY BLOCK", 900, "\n") + "\n")
    _decoy("gpg-signature", "dot_config/keys/SHA256SUMS.asc", _armour("PGP SIGNATURE", 320, "\n") + "\n")
    _decoy(
        "ansible-vault",
        "ansible/group_vars/nas.yml",
        "nas_port: 22\nansible_become_pass: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n"
        + textwrap.indent("\n".join(textwrap.wrap(_hex(400), 80)), "  ")
        + "\n",
    )
    _decoy(
        "ansible-variable",
        "ansible/playbook.yml",
        "- hosts: all\n  vars:\n    db_password: \"{{ vault_db_password }}\"\n    api_token: \"{{ lookup('env', 'API_TOKEN') }}\"\n    ansible_become_password: \"{{ lookup('community.general.passwordstore', 'nas') }}\"\n  tasks:\n    - name: Set the password\n      user: {name: rain, password: \"{{ user_password | password_hash('sha512') }}\", update_password: on_create}\n",
    )
    _decoy(
        "ejson",
        "secrets.ejson",
        f'{{\n  "_public_key": "{_hex(64)}",\n  "github_token": "EJ[1:{_b64(32)}:{_b64(24)}:{_b64(40)}]"\n}}\n',
    )
    _decoy("eyaml", "hiera/common.eyaml", f"mysql::root_password: ENC[PKCS7,{_b64(300)}]\n")
    _decoy(
        "sealed-secret",
        "k8s/sealed.yaml",
        f"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec:\n  encryptedData:\n    password: Ag{_b64(380)}\n",
    )
    _decoy(
        "agenix",
        "secrets.nix",
        'let\n  rain = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI'
        + _of(_ALNUM + "+/", 43)
        + '";\n  malphas = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI'
        + _of(_ALNUM + "+/", 43)
        + '";\nin\n{\n  "wifi-password.age".publicKeys = [ rain malphas ];\n  "api-token.age".publicKeys = [ rain malphas ];\n}\n',
    )
    _decoy(
        "systemd-creds",
        "dot_config/systemd/user/report.service",
        "[Service]\nSetCredentialEncrypted=token: " + _b64(120) + "\nExecStart=/usr/bin/report --token-file %d/token\n",
    )

    # --- decoys: hashes, locks, public keys, identifiers ----------------------------------------------------------------------

    sri = "sha256-" + _b64(32)
    _decoy(
        "flake-lock",
        "flake.lock",
        json.dumps(
            {
                "nodes": {
                    "nixpkgs": {
                        "locked": {
                            "lastModified": 1730000000,
                            "narHash": sri,
                            "owner": "NixOS",
                            "repo": "nixpkgs",
                            "rev": _hex(40),
                            "type": "github",
                        }
                    }
                },
                "root": "root",
                "version": 7,
            },
            indent=2,
        )
        + "\n",
    )
    _decoy(
        "nix-fetch",
        "pkgs/token-tool.nix",
        f'fetchFromGitHub {{\n  owner = "rain";\n  repo = "token-tool";\n  rev = "{_hex(40)}";\n  hash = "{sri}";\n}}\n',
    )
    _decoy(
        "nix-sha256",
        "pkgs/passage.nix",
        f'buildGoModule {{\n  pname = "passage";\n  vendorHash = "sha256-{_b64(32)}";\n  src = fetchurl {{ url = "https://example.org/passage.tar.gz"; sha256 = "{_of("0123456789abcdfghijklmnpqrsvwxyz", 52)}"; }};\n}}\n',
    )
    _decoy(
        "nix-keys",
        "modules/nix.nix",
        f'{{\n  nix.settings.trusted-public-keys = [\n    "cache.nixos.org-1:{_b64(32)}"\n    "nix-community.cachix.org-1:{_b64(32)}"\n  ];\n}}\n',
    )
    _decoy(
        "nix-store",
        "modules/path.nix",
        f'{{ x = "/nix/store/{_of("0123456789abcdfghijklmnpqrsvwxyz", 32)}-secret-agent-1.2"; }}\n',
    )
    _decoy(
        "nix-file-options",
        "modules/secrets.nix",
        '{ config, ... }:\n{\n  sops.secrets."wifi/psk" = { owner = "root"; };\n  sops.secrets.restic_password = { };\n  services.restic.backups.home.passwordFile = config.sops.secrets.restic_password.path;\n  users.users.rain.hashedPasswordFile = config.age.secrets.rain-password.path;\n  networking.wireless.secretsFile = config.sops.secrets."wifi/psk".path;\n  networking.wireless.networks.Fern.pskRaw = "ext:psk_fern";\n}\n',
    )
    _decoy(
        "nix-locked-user",
        "modules/root.nix",
        '{\n  users.users.root.hashedPassword = "!";\n  users.users.iso.initialHashedPassword = "";\n  security.sudo.wheelNeedsPassword = false;\n  services.openssh.settings.PasswordAuthentication = false;\n}\n',
    )
    _decoy(
        "nix-keys-authorized",
        "modules/ssh.nix",
        '{\n  users.users.rain.openssh.authorizedKeys.keys = [\n    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI'
        + _of(_ALNUM + "+/", 43)
        + ' rain@malphas"\n  ];\n}\n',
    )
    _decoy(
        "npm-lock",
        "play/package-lock.json",
        json.dumps(
            {
                "packages": {
                    "node_modules/js-tokens": {
                        "version": "4.0.0",
                        "resolved": "https://registry.npmjs.org/js-tokens/-/js-tokens-4.0.0.tgz",
                        "integrity": "sha512-" + _b64(64),
                    }
                }
            },
            indent=2,
        )
        + "\n",
    )
    _decoy(
        "yarn-lock",
        "play/yarn.lock",
        f'csrf-token@^1.0.0:\n  version "1.0.3"\n  resolved "https://registry.yarnpkg.com/csrf-token/-/csrf-token-1.0.3.tgz#{_hex(40)}"\n  integrity sha512-{_b64(64)}\n',
    )
    _decoy(
        "pnpm-lock",
        "play/pnpm-lock.yaml",
        f"packages:\n  keytar@7.9.0:\n    resolution: {{integrity: sha512-{_b64(64)}}}\n",
    )
    _decoy(
        "cargo-lock",
        "play/Cargo.lock",
        f'[[package]]\nname = "secrecy"\nversion = "0.8.0"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "{_sha()}"\n',
    )
    _decoy(
        "uv-lock",
        "play/uv.lock",
        f'[[package]]\nname = "keyring"\nversion = "25.5.0"\nsdist = {{ url = "https://files.pythonhosted.org/packages/{_hex(2)}/{_hex(2)}/{_hex(60)}/keyring-25.5.0.tar.gz", hash = "sha256:{_sha()}", size = 62675 }}\n',
    )
    _decoy(
        "requirements",
        "play/requirements.txt",
        f"tokenizers==0.20.3 \\\n    --hash=sha256:{_sha()} \\\n    --hash=sha256:{_sha()}\n",
    )
    _decoy(
        "go-sum",
        "play/go.sum",
        f"github.com/zalando/go-keyring v0.2.6 h1:{_b64(32)}\ngithub.com/zalando/go-keyring v0.2.6/go.mod h1:{_b64(32)}\n",
    )
    _decoy(
        "lazy-lock",
        "dot_config/nvim/lazy-lock.json",
        json.dumps(
            {
                "tokyonight.nvim": {"branch": "main", "commit": _hex(40)},
                "passwords.nvim": {"branch": "main", "commit": _hex(40)},
            },
            indent=2,
        )
        + "\n",
    )
    _decoy(
        "chezmoi-external",
        ".chezmoiexternal.toml",
        f'[".local/bin/age"]\ntype = "archive-file"\nurl = "https://github.com/FiloSottile/age/releases/download/v1.2.0/age-v1.2.0-linux-amd64.tar.gz"\nchecksum.sha256 = "{_sha()}"\npath = "age/age"\n',
    )
    _decoy(
        "onchange-hash",
        "run_onchange_after_keys.sh.tmpl",
        f'#!/bin/sh\n# keys.conf hash: {{{{ include "keys.conf" | sha256sum }}}}\n# password-store hash: {_sha()}\ndconf load / < ~/.config/keys.conf\n',
    )
    _decoy(
        "action-pins",
        "dot_github/workflows/lint.yml",
        f"jobs:\n  lint:\n    steps:\n      - uses: actions/checkout@{_hex(40)} # v4\n        with:\n          token: ${{{{ secrets.GITHUB_TOKEN }}}}\n      - uses: gitleaks/gitleaks-action@{_hex(40)}\n        env:\n          GITLEAKS_LICENSE: ${{{{ secrets.GITLEAKS_LICENSE }}}}\n",
    )
    _decoy(
        "pre-commit",
        "dot_pre-commit-config.yaml",
        f"repos:\n  - repo: https://github.com/Yelp/detect-secrets\n    rev: {_hex(40)}\n    hooks:\n      - id: detect-secrets\n        args: [--baseline, .secrets.baseline]\n",
    )
    _decoy(
        "docker-digest",
        "docker/vaultwarden/compose.yaml",
        f"services:\n  vaultwarden:\n    image: vaultwarden/server@sha256:{_sha()}\n    environment:\n      ADMIN_TOKEN_FILE: /run/secrets/admin_token\n      DATABASE_PASSWORD: ${{DB_PASSWORD}}\n      SIGNUPS_ALLOWED: 'false'\n    secrets: [admin_token]\nsecrets:\n  admin_token:\n    file: ./admin_token.txt\n",
    )
    _decoy(
        "k8s-ref",
        "k8s/deploy.yaml",
        'env:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef:\n        name: db-credentials\n        key: password\n  - name: TOKEN_TTL\n    value: "3600"\n',
    )
    _decoy(
        "known-hosts",
        "dot_ssh/known_hosts",
        f"|1|{_b64(20)}|{_b64(20)} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_ALNUM + '+/', 43)}\ngithub.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{_of(_ALNUM + '+/', 500)}=\n",
    )
    _decoy(
        "authorized-keys",
        "private_dot_ssh/authorized_keys",
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_ALNUM + '+/', 43)} rain@malphas\nsk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAI{_of(_ALNUM + '+/', 60)} yubikey\n",
    )
    _decoy(
        "ssh-public",
        "private_dot_ssh/id_ed25519.pub",
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_ALNUM + '+/', 43)} rain@malphas\n",
    )
    _decoy(
        "allowed-signers",
        "dot_config/git/allowed_signers",
        f"rain@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_of(_ALNUM + '+/', 43)}\n",
    )
    _decoy("certificate", "etc/ssl/home-ca.pem", _armour("CERTIFICATE", 620) + "\n")
    _decoy("public-key", "etc/ssl/sign.pub", _armour("PUBLIC KEY", 91) + "\n")
    _decoy(
        "minisign",
        "dot_config/minisign/rain.pub",
        f"untrusted comment: minisign public key {_hex(16).upper()}\nRW{_b64(40)}\n",
    )
    _decoy(
        "fingerprints",
        "docs/keys.md",
        f"# Keys\n\n- PGP: `{_hex(40).upper()}`\n- SSH: `SHA256:{_b64(32).rstrip('=')}`\n- age: `{age_recipient}`\n",
    )
    _decoy("gpg-id", "dot_password-store/dot_gpg-id", _hex(40).upper() + "\n")
    _decoy(
        "fstab",
        "etc/fstab",
        f"UUID={_uuid()} / ext4 defaults 0 1\nPARTUUID={_hex(8)}-02 /boot vfat umask=0077 0 2\n//nas/media /mnt/media cifs credentials=/etc/samba/nas.cred,uid=1000 0 0\n",
    )
    _decoy("machine-id", "etc/machine-id", _hex(32) + "\n")
    _decoy(
        "syncthing-device",
        "dot_config/syncthing/devices.txt",
        "malphas: " + "-".join(_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 7) for _ in range(8)) + "\n",
    )
    _decoy(
        "windows-terminal",
        "AppData/Local/terminal/settings.json",
        f'{{\n  "defaultProfile": "{{{_uuid()}}}",\n  "profiles": {{"list": [{{"guid": "{{{_uuid()}}}", "name": "zsh"}}]}}\n}}\n',
    )
    _decoy(
        "oauth-client-id",
        "dot_config/gcalcli/config.toml",
        '[auth]\nclient-id = "123456789012-abcdefgh.apps.googleusercontent.com"\ntoken-uri = "https://oauth2.googleapis.com/token"\n',
    )
    _decoy(
        "sentry-dsn", "dot_config/app/telemetry.toml", f'dsn = "https://{_hex(32)}@o123456.ingest.sentry.io/1234567"\n'
    )
    _decoy("git-shas", "dot_config/git/blame-ignore", f"# reformatting, 2024\n{_hex(40)}\n{_hex(40)}\n")
    _decoy(
        "plugin-shas",
        "dot_config/zsh/plugins.txt",
        f"zsh-users/zsh-syntax-highlighting {_hex(40)}\nMichaelAquilina/zsh-you-should-use {_hex(40)}\n",
    )
    _decoy(
        "spotify-uris",
        "dot_config/mopidy/playlists.m3u8",
        f"#EXTM3U\nspotify:track:{_of(_ALNUM, 22)}\nspotify:track:{_of(_ALNUM, 22)}\n",
    )
    _decoy(
        "bluetooth", "dot_config/bt/devices.json", '{"headset": "AC:12:2F:8B:00:1D", "keyboard": "DC:2C:26:0F:11:A2"}\n'
    )

    # --- decoys: names with key, token, pass, secret ------------------------------------------------------------------------

    for _path, _body in {
        "dot_config/sway/config": "set $mod Mod4\nbindsym $mod+p exec passmenu --type\nbindsym $mod+Shift+p exec rofi-pass\nbindsym --release Print exec grim\nmode passthrough {\n  bindsym $mod+Escape mode default\n}\n",
        "dot_config/i3/config": 'bindsym $mod+minus scratchpad show\nexec --no-startup-id gnome-keyring-daemon --start --components=secrets\nfor_window [class="KeePassXC"] floating enable\n',
        "dot_config/hypr/hyprland.conf": "bind = $mod, P, exec, 1password --quick-access\nwindowrule = float, title:^(Enter Passphrase)$\nbind = $mod, K, pass, class:^(com\\.obsproject\\.Studio)$\n",
        "dot_config/kitty/kitty.conf": 'map kitty_mod+k scroll_line_up\nmap ctrl+shift+p>n kitten hints --type=linenum\nclipboard_control write-primary no-append\n# remote_control_password ""\n',
        "dot_config/Code/User/keybindings.json": '[\n  {"key": "ctrl+shift+k", "command": "editor.action.deleteLines"},\n  {"key": "alt+t", "command": "editor.action.inspectTMScopes", "when": "editorTokenFocus"},\n  {"key": "ctrl+k ctrl+p", "command": "bitwarden.copyPassword"}\n]\n',
        "dot_config/Code/User/theme.json": '{\n  "editor.tokenColorCustomizations": {\n    "comments": "#6a737d",\n    "textMateRules": [{"scope": "keyword.control.secret", "settings": {"foreground": "#d73a49"}}]\n  },\n  "editor.semanticTokenColorCustomizations": {"enabled": true}\n}\n',
        "dot_config/nvim/lua/keymaps.lua": 'local map = vim.keymap.set\nmap("n", "<leader>pw", "<cmd>PassWord<cr>", { desc = "Insert password" })\nmap("n", "<leader>tk", vim.lsp.semantic_tokens.force_refresh, { desc = "Refresh tokens" })\nmap("i", "<C-k>", "<Plug>(secret-key)", { silent = true })\n',
        "dot_config/nvim/lua/plugins/ai.lua": 'return {\n  "olimorris/codecompanion.nvim",\n  opts = {\n    adapters = { anthropic = { env = { api_key = "ANTHROPIC_API_KEY" }, schema = { max_tokens = { default = 8192 } } } },\n    api_key_name = "OPENAI_API_KEY",\n    token_limit = 200000,\n  },\n}\n',
        "dot_config/nvim/lua/plugins/cmd.lua": 'require("gp").setup({ openai_api_key = { "cat", "/run/secrets/openai" }, secret_cmd = "pass show openai" })\nlocal key = os.getenv("OPENAI_API_KEY")\n',
        "dot_config/nvim/lua/colors.lua": 'local colors = { token = "#c0caf5", keyword = "#bb9af7", secret = "#f7768e", pass = "#9ece6a", key = "#7aa2f7" }\nreturn colors\n',
        "dot_vim/plugins.vim": "Plug 'jamessan/vim-gnupg'\nPlug 'fourjay/vim-password-store'\nPlug 'folke/tokyonight.nvim'\nlet g:copilot_filetypes = {'gitcommit': v:true}\nset viminfo=\n\" no swap files for passwords\nau BufNewFile,BufRead /dev/shm/gopass.* setlocal noswapfile nobackup noundofile\n",
        "dot_tmux/keys.conf": "bind-key -T prefix k select-pane -U\nset -g allow-passthrough on\nset -g @plugin 'rafi/tmux-pass'\nset -g @pass-copy-to-clipboard on\nset -g @pass-key b\n",
        "dot_config/rofi-pass/config": 'fields_order=(user pass url)\ndefault_user=:filename\npassword_length=24\ncopy_pass="Alt+p"\ntype_pass="Control+Alt+p"\n_pwgen () { pwgen -y "$@"; }\n',
        "dot_config/keepassxc/keepassxc.ini": "[General]\nConfigVersion=2\n[PasswordGenerator]\nLength=32\nSpecialChars=true\nWordSeparator=-\n[Security]\nClearClipboardTimeout=15\nLockDatabaseIdle=true\nPasswordsHidden=true\n[SSHAgent]\nEnabled=true\n",
        "dot_config/qutebrowser/config.py": "config.bind('<z><l>', 'spawn --userscript qute-pass --unfiltered')\nconfig.bind('<z><p>', 'spawn --userscript qute-pass --password-only')\nc.content.register_protocol_handler = False\nc.fileselect.handler = 'external'\n",
        "dot_mozilla/user.js": 'user_pref("signon.rememberSignons", false);\nuser_pref("security.ask_for_password", 0);\nuser_pref("signon.formlessCapture.enabled", false);\nuser_pref("browser.safebrowsing.provider.google4.gethashURL", "");\nuser_pref("privacy.userContext.newTabContainerOnLeftClick.enabled", true);\n',
        "dot_config/browserpass/config.json": '{\n  "autoSubmit": false,\n  "gpgPath": "/usr/bin/gpg",\n  "stores": {"home": {"path": "~/.password-store", "settings": {"username": null, "password": null}}}\n}\n',
        "dot_config/starship.toml": 'format = "$all"\n[git_commit]\ncommit_hash_length = 8\n[env_var.AWS_PROFILE]\nsymbol = "key "\n[kubernetes]\ndisabled = false\n',
        "dot_p10k.zsh": "typeset -g POWERLEVEL9K_VAULT_TOKEN_FOREGROUND=4\ntypeset -g POWERLEVEL9K_PASSWORD_HIDDEN_ICON='⋯'\ntypeset -g POWERLEVEL9K_STATUS_OK_PIPE_VISUAL_IDENTIFIER_EXPANSION='✔'\n",
        "dot_config/karabiner/karabiner.json": '{"profiles": [{"simple_modifications": [{"from": {"key_code": "caps_lock"}, "to": [{"key_code": "left_control"}]}], "devices": [{"identifiers": {"is_keyboard": true, "product_id": 34304, "vendor_id": 1452}}]}]}\n',
        "dot_config/kanata/home.kbd": "(defsrc caps a s d f)\n(deflayer base @cap @a @s @d @f)\n(defalias passkey (macro p a s s) tokenkey (multi lctl t))\n",
        "qmk/keymap.c": "enum custom_keycodes { KC_SECRET_1 = SAFE_RANGE, KC_PASS, KC_TOKEN };\nconst key_override_t delete_key_override = ko_make_basic(MOD_MASK_SHIFT, KC_BSPC, KC_DEL);\n",
        "dot_config/alacritty/alacritty.toml": '[[keyboard.bindings]]\nkey = "Return"\nmods = "Control|Shift"\naction = "SpawnNewInstance"\n\n[[keyboard.bindings]]\nkey = "PageUp"\nchars = "\\u001b[5;2~"\n',
        "dot_config/sxhkd/sxhkdrc": "super + p\n    passmenu\nsuper + shift + k\n    keepassxc --lock\n",
        "dot_emacs.d/auth.el": '(setq auth-sources \'("~/.authinfo.gpg" "secrets:Login"))\n(setq epg-pinentry-mode \'loopback)\n(setq password-cache-expiry 3600)\n(setq gptel-api-key (lambda () (auth-source-pick-first-password :host "api.openai.com")))\n(setq sql-password \'ask)\n(global-set-key (kbd "C-c p") #\'password-store-copy)\n',
        "dot_config/zed/keymap.json": '[{"context": "Editor", "bindings": {"alt-k": "editor::SelectNext", "cmd-k cmd-t": "theme_selector::Toggle"}}]\n',
        "dot_config/aichat/roles.yaml": "- name: summary\n  prompt: Summarise in fewer than 200 tokens. Never repeat a password.\nmax_output_tokens: 4096\ncompress_threshold: 2000\n",
        "dot_config/llm/default.toml": 'api_key_env = "OPENAI_API_KEY"\nmax_tokens = 16384\ntokenizer = "cl100k_base"\napi_key_cmd = "pass show openai"\n',
        "dot_claude/settings.json": '{\n  "apiKeyHelper": "~/.local/bin/anthropic-key",\n  "env": {"MAX_THINKING_TOKENS": "31999", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000"},\n  "permissions": {"deny": ["Read(./.env)", "Read(./secrets/**)"], "defaultMode": "bypassPermissions"}\n}\n',
        "dot_vscode/mcp.json": '{\n  "inputs": [{"type": "promptString", "id": "gh-token", "description": "GitHub token", "password": true}],\n  "servers": {"github": {"env": {"GITHUB_TOKEN": "${input:gh-token}"}, "headers": {"Authorization": "Bearer ${env:GITHUB_TOKEN}"}}}\n}\n',
        "homeassistant/configuration.yaml": "mqtt:\n  username: ha\n  password: !secret mqtt_password\nrecorder:\n  db_url: !secret recorder_db_url\nhttp:\n  ip_ban_enabled: true\n  login_attempts_threshold: 5\n",
        "esphome/common.yaml": "wifi:\n  ssid: !secret wifi_ssid\n  password: !secret wifi_password\nota:\n  - platform: esphome\n    password: !secret ota_password\napi:\n  encryption:\n    key: !secret api_key\n",
        "dot_config/systemd/user/report2.service": "[Service]\nLoadCredential=token:/run/secrets/report_token\nEnvironmentFile=%h/.config/report/env\nEnvironment=TOKEN_PATH=%d/token PASSWORD_STORE_DIR=%h/.password-store\nExecStart=/usr/bin/report\nKeyringMode=private\n",
        "bin/executable_report.py": 'import os\nfrom getpass import getpass\n\ntoken = os.environ["REPORT_TOKEN"]\npassword = os.getenv("REPORT_PASSWORD") or getpass("Password: ")\napi_key = keyring.get_password("report", "rain")\nsecret = Path("/run/secrets/report").read_text().strip()\n',
        "bin/executable_rotate.js": "const token = process.env.GITHUB_TOKEN;\nconst { password } = await prompts({ type: 'password', name: 'password', message: 'Password' });\nif (!token) throw new Error('token missing');\n",
        "bin/executable_keys.rb": "api_key = ENV.fetch('LASTFM_API_KEY')\npassword = `pass show lastfm`.chomp\nputs \"token: #{token[0, 4]}…\" if token\n",
        "dot_gitignore": "*.pem\n*.key\nsecrets.yaml\n.env\npassword.txt\n!secrets.example.yaml\n",
        ".chezmoiignore": "README.md\nsecrets/\n{{ if not .personal }}\nprivate_dot_ssh/id_rsa\n.password-store\n{{ end }}\n",
        "dot_gitleaks.toml": "[[rules]]\nid = \"home-token\"\nregex = '''(?i)home[_-]?token\\s*=\\s*['\"]?[a-z0-9]{40}'''\nkeywords = [\"home_token\"]\n[allowlist]\npaths = ['''secrets/.*\\.yaml''']\n",
        "dot_config/atuin/config.toml": '#db_uri="postgres://username:password@localhost/atuin"\nsecrets_filter = true\nkey_path = "~/.local/share/atuin/key"\nsession_path = "~/.local/share/atuin/session"\nhistory_filter = ["^secret-cmd", "^innocuous-cmd .*--secret=.+"]\n',
        "dot_config/pueue/pueue.yml": "shared:\n  shared_secret_path: /home/rain/.local/share/pueue/shared_secret\n  daemon_key: /home/rain/.local/share/pueue/certs/daemon.key\n  use_unix_socket: true\n",
        "dot_config/gh/config.yml": "git_protocol: ssh\neditor: nvim\naliases:\n    tok: auth token\n    pw: secret list\n",
        "dot_config/espanso/match/base.yml": 'matches:\n  - trigger: ":pwd"\n    replace: "{{output}}"\n    vars:\n      - name: output\n        type: shell\n        params: {cmd: "pass show -c work"}\n',
        "dot_config/pam-gnupg": "KEYGRIPS\n# the keygrips are read from ~/.pam-gnupg; the login password unlocks them\n",
        "dot_config/sops/README.md": "The age key is in `~/.config/sops/age/keys.txt`. Never commit it.\n\n    export SOPS_AGE_KEY_FILE=~/.config/sops/age/keys.txt\n    sops secrets.yaml\n\nPassword managers: see `docs/passwords.md`.\n",
        "README.md": "# dotfiles\n\nAdd your token:\n\n    export GITHUB_TOKEN="
        + _GITHUB
        + "x" * 36
        + "\n    export API_KEY=<your-api-key>\n    export AWS_ACCESS_KEY_ID=AKIA"
        + "IOSFODNN7EXAMPLE\n    export DB_PASSWORD=********\n\nThe password is in the password manager.\n",
        "docs/passwords.md": '# Passwords\n\nA password has at least 16 characters. The password for the wifi is on the fridge.\nThe token: see 1Password, item "GitHub token (dotfiles)".\nSet `password: ""` to be asked.\n',
        "dot_config/espanso/config.yml": "toggle_key: ALT\nsearch_shortcut: ALT+SPACE\nevdev_modifier_delay: 10\nbackspace_limit: 5\n",
        "dot_config/gtk-3.0/bookmarks": "file:///home/rain/secrets\nfile:///home/rain/Documents/passwords Passwords\nsftp://rain@nas/home/rain NAS\n",
        "dot_config/mimeapps.list": "[Default Applications]\nx-scheme-handler/onepassword=1password.desktop\napplication/x-keepass2=org.keepassxc.KeePassXC.desktop\napplication/pgp-keys=seahorse-import.desktop\n",
        "packages/Brewfile": 'brew "pass"\nbrew "pass-otp"\nbrew "gnupg"\ncask "1password-cli"\ncask "keepassxc"\nmas "Bitwarden", id: 1352778147\n',
        "packages/pacman.txt": "gnome-keyring\nlibsecret\npass\npassff-host\npython-secretstorage\nkeyutils\n",
        "dot_Xresources": "*.color0: #1d1f21\nxterm*termName: xterm-256color\nURxvt.keysym.M-k: perl:keyboard-select:activate\nURxvt.secondaryScroll: true\n",
        "dot_config/css/tokens.css": ':root {\n  --token-primary: #7aa2f7;\n  --secret-color: rgb(247 118 142 / 50%);\n  --key-size: 2.5rem;\n}\ninput[type="password"] { letter-spacing: 0.3em; }\n',
        "dot_config/swaylock/config": "show-failed-attempts\nkey-hl-color=a3be8c\nring-wrong-color=bf616a\ninside-ver-color=5e81ac\ndaemonize\n",
        "dot_config/hypr/hyprlock.conf": "input-field {\n    placeholder_text = <i>Password...</i>\n    fail_text = wrong password ($ATTEMPTS)\n    dots_size = 0.33\n    outer_color = rgba(33ccffee)\n}\n",
        "dot_config/i18n/de.json": '{"password": "Passwort", "password_hint": "Mindestens 12 Zeichen", "token": "Zugangstoken", "secret": "Geheimnis", "api_key": "API-Schlüssel"}\n',
        "dot_config/logrotate.conf": "# the password in the mail command is read from ~/.netrc\nrotate 4\nweekly\ncompress\nmail rain@example.org\n",
        "dot_config/pipewire/pipewire.conf": "context.properties = {\n    core.daemon = true\n    access.token.required = false\n    module.x11.bell = true\n}\n",
        "dot_config/security/limits.toml": 'password_min_length = 14\npassword_expiry_days = 365\ntoken_ttl = "24h"\nsecret_rotation = "90d"\nrequire_passphrase = true\npass_entry = "mail/work"\nkey_type = "ed25519"\nkey_comment = "rain@malphas"\n',
        "dot_config/gitui/key_bindings.ron": '(\n    move_left: Some(( code: Char(\'h\'), modifiers: "")),\n    stash_open: Some(( code: Char(\'l\'), modifiers: "")),\n    open_help: Some(( code: F(1), modifiers: "")),\n)\n',
        "dot_screenrc": 'bindkey -k k1 select 0\npassword none\nhardstatus alwayslastline "%{= kG}"\n',
        "dot_config/sudoers.d/rain": 'Defaults pwfeedback, passwd_tries=5, timestamp_timeout=15\nDefaults passprompt="[sudo] password for %p: "\nrain ALL=(ALL) NOPASSWD: /usr/bin/nixos-rebuild\n',
    }.items():
        _decoy("names", _path, _body)

    # --- decoys: blobs ----------------------------------------------------------------------------------------------------------

    _decoy(
        "icon",
        "dot_local/share/icons/key.svg",
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="data:image/png;base64,{_b64(900)}"/></svg>\n',
    )
    _decoy(
        "icon",
        "dot_config/startpage/index.html",
        f'<img alt="token" src="data:image/png;base64,{_b64(600)}">\n<input type="password" name="password" placeholder="Password">\n',
    )
    _decoy(
        "font",
        "dot_config/startpage/font.css",
        f"@font-face {{ font-family: Key; src: url(data:font/woff2;base64,{_b64(800)}) format('woff2'); }}\n",
    )
    _decoy(
        "minified",
        "dot_config/surfingkeys/lib.min.js",
        "!function(e,t){var n=e.token,r=t.key;function o(e){return e.password||e.secret}n.pass=function(t){return o(t)?r[t.key]:e.token=t.id};"
        + "".join(f"var {a}=function(e){{return e.{a}Key+e.token}};" for a in "abcdefgh")
        + "}(window,document);\n",
    )
    _decoy(
        "source-map",
        "dot_config/startpage/app.css.map",
        '{"version":3,"sources":["app.scss"],"mappings":"'
        + ";".join(_of("AACEGIKSUYacegkmqsw", 4) for _ in range(120))
        + '"}\n',
    )
    _decoy(
        "theme",
        "dot_config/themes/token-dark.yaml",
        "scheme: Token Dark\n" + "".join(f'base{i:02X}: "{_hex(6)}"\n' for i in range(16)),
    )
    _decoy(
        "icc",
        "dot_local/share/icc/panel.txt",
        f"profile id: {_hex(32)}\nserial: {_of(string.ascii_uppercase + string.digits, 12)}\n",
    )
    _decoy("edid", "dot_config/autorandr/desk/setup", "DP-1 00ffffffffffff00" + _hex(240) + "\n")
    _decoy(
        "p10k-hash", "dot_cache/p10k-dump.zsh", f"typeset -g __p9k_dump_key={_hex(8)}\ntypeset -gi __p9k_dump_pass=1\n"
    )
    _decoy(
        "uuid-list",
        "dot_config/gnome/extensions.json",
        json.dumps(
            {"keyring@rain": {"uuid": _uuid(), "session-id": _uuid()[:8]}, "profiles": [_uuid(), _uuid()]}, indent=1
        )
        + "\n",
    )
    _decoy(
        "dconf",
        "dot_config/dconf/user.ini",
        f"[org/gnome/terminal/legacy/profiles:/:{_uuid()}]\npalette=['#{_hex(6)}', '#{_hex(6)}']\n\n[org/gnome/seahorse]\nlast-search-text='token'\nserver-publish-to=''\n\n[org/gnome/desktop/privacy]\nremember-recent-files=false\n",
    )


def _made(seed: int) -> tuple[list[Sample], list[Sample]]:
    _PLANTED.clear()
    _DECOYS.clear()
    _dice.seed(_SEED if seed == 1 else f"{_SEED} {seed}")
    _fill()
    assert len({sample.path for sample in _PLANTED + _DECOYS}) == len(_PLANTED) + len(_DECOYS)
    return list(_PLANTED), list(_DECOYS)


def planted(seed: int = 1) -> list[Sample]:
    """Files with a secret each; what was measured first is seed 1."""
    return _made(seed)[0]


def decoys(seed: int = 1) -> list[Sample]:
    """Files without one."""
    return _made(seed)[1]
