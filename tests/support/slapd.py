"""A real OpenLDAP server for tests: the shipped schema and demo tree, TLS, the password policy overlay."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.authority import Authority
from tests.support.processes import eventually
from tests.support.running import free_ports

LDIF: Final = Path(__file__).parents[2] / "docs/ldap"
SLAPD: Final = "/usr/sbin/slapd"
ROOT: Final = "cn=root,o=isp"
"""Who may do everything; its password is PASSWORD, as everybody's is."""
READER: Final = "cn=mailkeep,ou=services,o=isp"
PASSWORD: Final = "testpass"
POLICIES: Final = "ou=policies,o=isp"

_CONFIG: Final = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {folder}/slapd.pid
olcLogLevel: none
olcThreads: 4
olcTLSCACertificateFile: {cafile}
olcTLSCertificateFile: {certfile}
olcTLSCertificateKeyFile: {keyfile}

dn: cn=module,cn=config
objectClass: olcModuleList
cn: module
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb
olcModuleLoad: ppolicy

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif
include: file:///etc/ldap/schema/cosine.ldif
include: file:///etc/ldap/schema/inetorgperson.ldif
include: file:///etc/ldap/schema/nis.ldif
include: file://{schema}

dn: cn=corp,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: corp
olcAttributeTypes: ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
olcAttributeTypes: ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
olcAttributeTypes: ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
olcAttributeTypes: ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
olcObjectClasses: ( 1.2.840.113556.1.5.9 NAME 'user' SUP organizationalPerson STRUCTURAL
  MAY ( sAMAccountName $ userPrincipalName $ proxyAddresses $ userAccountControl $ mail ) )

dn: olcDatabase=frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: frontend
olcSizeLimit: 500

dn: olcDatabase={{1}}monitor,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{1}}monitor
olcRootDN: {root}
olcAccess: to * by dn.exact={root} read

dn: olcDatabase={{2}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{2}}mdb
olcSuffix: o=isp
olcRootDN: {root}
olcRootPW: {password}
olcDbDirectory: {folder}/isp
olcDbMaxSize: 268435456
olcDbNoSync: TRUE
olcDbIndex: objectClass,uid,mail,mailAlternateAddress,mailEquivalentAddress eq
olcDbIndex: sunPreferredDomain,associatedDomain,employeeNumber eq
olcAccess: to attrs=userPassword by anonymous auth by dn.exact={reader} compare by * none
olcAccess: to * by dn.exact={reader} read by * none

dn: olcOverlay=ppolicy,olcDatabase={{2}}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcPPolicyConfig
olcOverlay: ppolicy
olcPPolicyUseLockout: TRUE

dn: olcDatabase={{3}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{3}}mdb
olcSuffix: o=internet
olcDbDirectory: {folder}/internet
olcDbMaxSize: 67108864
olcDbNoSync: TRUE
olcAccess: to * by dn.exact={reader} read by * none
"""


def policy(name: str, **attributes: str) -> str:
    """A password policy (draft-behera-ldap-password-policy) as LDIF; an entry names it in pwdPolicySubentry."""
    lines = [f"dn: cn={name},{POLICIES}", "objectClass: device", "objectClass: pwdPolicy", f"cn: {name}"]
    lines += ["pwdAttribute: userPassword", *(f"{key}: {value}" for key, value in attributes.items())]
    return "\n".join(lines) + "\n"


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


class Slapd:
    """One server in a folder of its own, with the demo tree, and `more` LDIF below o=isp and o=internet.

    Its certificate is for `host`, and has `ended` or not.
    """

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        more: Sequence[str] = (),
        more_domains: Sequence[str] = (),
        host: str = "localhost",
        ended: bool = False,
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self.port, self.tls_port = free_ports(2)
        self.cafile = authority.cafile
        self._process: subprocess.Popen[bytes] | None = None
        self._configure(authority, host, ended)
        self._fill(more, more_domains)

    @property
    def url(self) -> str:
        """In clear, for StartTLS."""
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        """TLS from the first byte."""
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        urls = f"{self.url} {self.tls_url}"
        command = [SLAPD, "-d", "0", "-h", urls, "-F", str(self._folder / "config")]
        with open(self._folder / "slapd.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers)

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP makes it a server that takes connections and never answers."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            # Not before it does can a test say that it answers nothing any more.
            tasks = Path(f"/proc/{self.pid}/task")
            eventually(lambda: all(_state(task) == "T" for task in tasks.iterdir()))

    def kill(self) -> None:
        """At once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def modify(self, ldif: str, *, relax: bool = False) -> None:
        """Change entries, as the root."""
        more = ["-e", "relax"] if relax else []
        self._client("ldapmodify", *more, given=ldif)

    def set(self, dn: str, attribute: str, *values: str) -> None:
        """Replace an attribute's values; none takes it away."""
        lines = [
            f"dn: {dn}",
            "changetype: modify",
            f"replace: {attribute}",
            *(f"{attribute}: {each}" for each in values),
        ]
        self.modify("\n".join(lines) + "\n", relax=attribute.startswith("pwd"))

    def operations(self) -> Mapping[str, int]:
        """How many operations of each kind ("Bind", "Search") it has begun; asking counts one of each itself."""
        answer = self._client(
            "ldapsearch", "-b", "cn=Operations,cn=Monitor", "-s", "one", "-LLL", "(objectClass=*)", "monitorOpInitiated"
        )
        found = re.findall(r"dn: cn=(\w+),cn=Operations,cn=Monitor\nmonitorOpInitiated: (\d+)", answer)
        return {name: int(number) for name, number in found}

    def _client(self, program: str, *words: str, given: str = "") -> str:
        command = [program, "-x", "-H", self.url, "-D", ROOT, "-w", PASSWORD, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "slapd.log").read_text()
        command = ["ldapwhoami", "-x", "-H", self.url]
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0

    def _configure(self, authority: Authority, host: str, ended: bool) -> None:
        certfile, keyfile = authority.issue(host, *([] if host == "localhost" else [host]), ended=ended)
        for name in ("config", "isp", "internet"):
            (self._folder / name).mkdir()
        config = _CONFIG.format(
            folder=self._folder,
            cafile=authority.cafile,
            certfile=certfile,
            keyfile=keyfile,
            schema=LDIF / "messaging.ldif",
            root=ROOT,
            reader=READER,
            password=PASSWORD,
        )
        self._add(0, config)

    def _fill(self, more: Iterable[str], more_domains: Iterable[str]) -> None:
        isp, internet = (LDIF / "demo.ldif").read_text().split("\n# ---- the tree of domains", 1)
        policies = f"dn: {POLICIES}\nobjectClass: organizationalUnit\nou: policies\n"
        self._add(2, "\n".join([isp, policies, *more]))
        self._add(3, "\n".join([internet.partition("\n")[2], *more_domains]))

    def _add(self, database: int, ldif: str) -> None:
        source = self._folder / f"{database}.ldif"
        source.write_text(ldif)
        command = [
            "/usr/sbin/slapadd",
            "-q",
            "-F",
            str(self._folder / "config"),
            "-n",
            str(database),
            "-l",
            str(source),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
