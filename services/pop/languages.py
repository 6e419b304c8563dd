"""The texts that people read, in every language that LANG offers (RFC 6856 section 3), with response codes. No I/O.

A text is a row: whether it is +OK or -ERR, its response code (RFC 2449 section 8, RFC 3206, RFC 6856 section 5) and its
wording in each of `LANGUAGES`, in that order. `LINES` holds them as ready lines; numbers are put in with `%`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

LANGUAGES: Final[dict[str, str]] = {"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español"}
"""Tag -> the language's own name."""
DEFAULT_LANGUAGE: Final = "en"
_ALIASES: Final = {"i-default": DEFAULT_LANGUAGE}


class Text(Enum):
    """What there is to say."""

    GOODBYE = auto()
    NAME_TAKEN = auto()
    MAILDROP = auto()
    NOTHING = auto()
    OCTETS = auto()
    TOP = auto()
    UIDS = auto()
    DELETED = auto()
    CAPABILITIES = auto()
    MECHANISMS = auto()
    BEGIN_TLS = auto()
    UTF8 = auto()
    LANGUAGES = auto()
    LANGUAGE = auto()
    FORWARDED = auto()
    LOGIN_FAILED = auto()
    LOGIN_BARRED = auto()
    PASSWORD_IN_CLEAR = auto()
    NO_NAME = auto()
    NO_APOP = auto()
    NO_MECHANISM = auto()
    BAD_RESPONSE = auto()
    CANCELLED = auto()
    TOO_SOON = auto()
    IN_USE = auto()
    NO_TLS = auto()
    TLS_ACTIVE = auto()
    TLS_TOO_LATE = auto()
    NO_LANGUAGE = auto()
    NO_MESSAGE = auto()
    MARKED = auto()
    GONE = auto()
    NEEDS_UTF8 = auto()
    NOT_REMOVED = auto()
    UNKNOWN = auto()
    SYNTAX = auto()
    STATE = auto()
    TOO_LONG = auto()
    TEMPORARY = auto()
    PERMANENT = auto()
    PASSWORD_EXPIRED = auto()
    MAIL_ELSEWHERE = auto()
    TOO_MANY_SESSIONS = auto()
    ADDRESS_BARRED = auto()
    SHUT_OUT = auto()
    NOT_TRUSTED = auto()
    SHUTTING_DOWN = auto()


class Row(NamedTuple):
    """One text: its status, its response code or "", and the wordings."""

    ok: bool
    code: str
    wordings: tuple[str, ...]


def _ok(*wordings: str) -> Row:
    return Row(True, "", wordings)


def _error(code: str, *wordings: str) -> Row:
    return Row(False, code, wordings)


TEXTS: Final[dict[Text, Row]] = {
    Text.GOODBYE: _ok("Goodbye", "Auf Wiedersehen", "Au revoir", "Hasta luego"),
    Text.NAME_TAKEN: _ok(
        "Send the password", "Bitte das Passwort senden", "Envoyez le mot de passe", "Envíe la contraseña"
    ),
    Text.MAILDROP: _ok(
        "%d messages (%d octets)", "%d Nachrichten (%d Oktette)", "%d messages (%d octets)", "%d mensajes (%d octetos)"
    ),
    Text.NOTHING: _ok("Still here", "Bereit", "Toujours là", "Aquí sigo"),
    Text.OCTETS: _ok("%d octets", "%d Oktette", "%d octets", "%d octetos"),
    Text.TOP: _ok(
        "Top of the message follows",
        "Der Anfang der Nachricht folgt",
        "Voici le début du message",
        "Sigue el comienzo del mensaje",
    ),
    Text.UIDS: _ok(
        "Unique ids follow",
        "Die eindeutigen Kennungen folgen",
        "Voici les identifiants uniques",
        "Siguen los identificadores únicos",
    ),
    Text.DELETED: _ok(
        "Message %d will be deleted",
        "Nachricht %d wird gelöscht",
        "Le message %d sera supprimé",
        "El mensaje %d se eliminará",
    ),
    Text.CAPABILITIES: _ok(
        "Capabilities follow", "Die Fähigkeiten folgen", "Voici les capacités", "Siguen las capacidades"
    ),
    Text.MECHANISMS: _ok("Mechanisms follow", "Die Verfahren folgen", "Voici les mécanismes", "Siguen los mecanismos"),
    Text.BEGIN_TLS: _ok("Begin TLS", "TLS beginnen", "Commencez TLS", "Inicie TLS"),
    Text.UTF8: _ok("UTF-8 from now on", "Ab jetzt UTF-8", "UTF-8 désormais", "UTF-8 desde ahora"),
    Text.LANGUAGES: _ok("Languages follow", "Die Sprachen folgen", "Voici les langues", "Siguen los idiomas"),
    Text.LANGUAGE: _ok(
        "%s English from now on", "%s Ab jetzt Deutsch", "%s Désormais en français", "%s Desde ahora en español"
    ),
    Text.FORWARDED: _ok("Client noted", "Client vermerkt", "Client noté", "Cliente anotado"),
    Text.LOGIN_FAILED: _error(
        "AUTH",
        "Wrong name or password",
        "Name oder Passwort falsch",
        "Nom ou mot de passe incorrect",
        "Nombre o contraseña incorrectos",
    ),
    Text.LOGIN_BARRED: _error(
        "AUTH",
        "This login is not permitted",
        "Diese Anmeldung ist nicht erlaubt",
        "Cette connexion n'est pas autorisée",
        "Este acceso no está permitido",
    ),
    Text.PASSWORD_IN_CLEAR: _error(
        "AUTH",
        "Passwords are not taken on this connection",
        "Auf dieser Verbindung werden keine Passwörter angenommen",
        "Les mots de passe ne sont pas acceptés sur cette connexion",
        "No se aceptan contraseñas en esta conexión",
    ),
    Text.NO_NAME: _error("", "Send USER first", "Zuerst USER senden", "Envoyez d'abord USER", "Envíe primero USER"),
    Text.NO_APOP: _error(
        "", "APOP is not offered", "APOP wird nicht angeboten", "APOP n'est pas proposé", "No se ofrece APOP"
    ),
    Text.NO_MECHANISM: _error(
        "",
        "This mechanism is not offered",
        "Dieses Verfahren wird nicht angeboten",
        "Ce mécanisme n'est pas proposé",
        "No se ofrece este mecanismo",
    ),
    Text.BAD_RESPONSE: _error(
        "",
        "Not a response of this mechanism",
        "Keine Antwort dieses Verfahrens",
        "Ce n'est pas une réponse de ce mécanisme",
        "No es una respuesta de este mecanismo",
    ),
    Text.CANCELLED: _error("", "Cancelled", "Abgebrochen", "Annulé", "Cancelado"),
    Text.TOO_SOON: _error(
        "LOGIN-DELAY",
        "Too soon after the last login",
        "Zu früh nach der letzten Anmeldung",
        "Trop tôt après la dernière connexion",
        "Demasiado pronto tras el último acceso",
    ),
    Text.IN_USE: _error(
        "IN-USE",
        "Another session holds the maildrop",
        "Eine andere Sitzung hält das Postfach",
        "Une autre session occupe la boîte",
        "Otra sesión ocupa el buzón",
    ),
    Text.NO_TLS: _error(
        "", "TLS is not available", "TLS ist nicht verfügbar", "TLS n'est pas disponible", "TLS no está disponible"
    ),
    Text.TLS_ACTIVE: _error(
        "", "TLS is active already", "TLS ist bereits aktiv", "TLS est déjà actif", "TLS ya está activo"
    ),
    Text.TLS_TOO_LATE: _error(
        "", "STLS goes before UTF8", "STLS kommt vor UTF8", "STLS précède UTF8", "STLS va antes de UTF8"
    ),
    Text.NO_LANGUAGE: _error(
        "",
        "This language is not offered",
        "Diese Sprache wird nicht angeboten",
        "Cette langue n'est pas proposée",
        "No se ofrece este idioma",
    ),
    Text.NO_MESSAGE: _error(
        "", "No such message", "Keine solche Nachricht", "Aucun message de ce numéro", "No existe tal mensaje"
    ),
    Text.MARKED: _error(
        "",
        "The message is marked as deleted",
        "Die Nachricht ist als gelöscht markiert",
        "Le message est marqué comme supprimé",
        "El mensaje está marcado como eliminado",
    ),
    Text.GONE: _error(
        "",
        "The message is gone",
        "Die Nachricht ist nicht mehr da",
        "Le message n'existe plus",
        "El mensaje ya no existe",
    ),
    Text.NEEDS_UTF8: _error(
        "UTF8",
        "The message needs UTF8 mode",
        "Die Nachricht braucht den Modus UTF8",
        "Le message demande le mode UTF8",
        "El mensaje requiere el modo UTF8",
    ),
    Text.NOT_REMOVED: _error(
        "SYS/TEMP",
        "Deleted messages were not removed",
        "Gelöschte Nachrichten wurden nicht entfernt",
        "Les messages supprimés n'ont pas été retirés",
        "Los mensajes eliminados no se retiraron",
    ),
    Text.UNKNOWN: _error("", "No such command", "Kein solcher Befehl", "Commande inconnue", "Orden desconocida"),
    Text.SYNTAX: _error(
        "",
        "The command does not take this argument",
        "Der Befehl nimmt dieses Argument nicht an",
        "La commande n'accepte pas cet argument",
        "La orden no acepta este argumento",
    ),
    Text.STATE: _error(
        "",
        "Not in this state",
        "In diesem Zustand nicht möglich",
        "Impossible dans cet état",
        "No es posible en este estado",
    ),
    Text.TOO_LONG: _error(
        "", "The line is too long", "Die Zeile ist zu lang", "La ligne est trop longue", "La línea es demasiado larga"
    ),
    Text.TEMPORARY: _error(
        "SYS/TEMP",
        "Not available now, try again later",
        "Derzeit nicht verfügbar, bitte später wieder versuchen",
        "Indisponible pour le moment, réessayez plus tard",
        "No disponible ahora, inténtelo más tarde",
    ),
    Text.PERMANENT: _error(
        "SYS/PERM",
        "A fault that the administrator must mend",
        "Ein Fehler, den die Systemverwaltung beheben muss",
        "Une panne que l'administrateur doit réparer",
        "Un fallo que debe reparar el administrador",
    ),
    Text.PASSWORD_EXPIRED: _error(
        "AUTH",
        "The password has expired",
        "Das Passwort ist abgelaufen",
        "Le mot de passe a expiré",
        "La contraseña ha caducado",
    ),
    Text.MAIL_ELSEWHERE: _error(
        "SYS/PERM",
        "Another server has the mail of this account",
        "Ein anderer Server hat die Post dieses Kontos",
        "Un autre serveur détient le courrier de ce compte",
        "Otro servidor tiene el correo de esta cuenta",
    ),
    Text.TOO_MANY_SESSIONS: _error(
        "SYS/TEMP", "Too many sessions", "Zu viele Sitzungen", "Trop de sessions", "Demasiadas sesiones"
    ),
    Text.ADDRESS_BARRED: _error(
        "SYS/PERM",
        "Access from your address is not allowed",
        "Der Zugang von Ihrer Adresse ist nicht erlaubt",
        "L'accès depuis votre adresse n'est pas autorisé",
        "No se permite el acceso desde su dirección",
    ),
    Text.SHUT_OUT: _error(
        "SYS/TEMP",
        "Access from your address is closed for now",
        "Der Zugang von Ihrer Adresse ist vorerst gesperrt",
        "L'accès depuis votre adresse est fermé pour le moment",
        "El acceso desde su dirección está cerrado por ahora",
    ),
    Text.NOT_TRUSTED: _error(
        "",
        "Only for front ends that are trusted",
        "Nur für Vorrechner, denen vertraut wird",
        "Réservé aux serveurs frontaux de confiance",
        "Solo para servidores frontales de confianza",
    ),
    Text.SHUTTING_DOWN: _error(
        "SYS/TEMP",
        "The server is going down, connect again",
        "Der Server wird beendet, bitte neu verbinden",
        "Le serveur s'arrête, reconnectez-vous",
        "El servidor se detiene, conéctese de nuevo",
    ),
}


def _line(row: Row, wording: str) -> bytes:
    code = f"[{row.code}] " if row.code else ""
    return f"{'+OK' if row.ok else '-ERR'} {code}{wording}\r\n".encode()


LINES: Final[dict[str, dict[Text, bytes]]] = {
    tag: {text: _line(row, row.wordings[column]) for text, row in TEXTS.items()} for column, tag in enumerate(LANGUAGES)
}
"""Language -> text -> the ready line."""


def lookup(language_range: str, preferred: str) -> str | None:
    """The tag that a language range picks, by the lookup of RFC 4647 section 3.4; `*` is the preferred one."""
    if language_range == "*":
        return preferred
    wanted = language_range.lower()
    wanted = _ALIASES.get(wanted, wanted)
    while wanted and wanted not in LANGUAGES:
        wanted = wanted.rpartition("-")[0]
    return wanted or None
