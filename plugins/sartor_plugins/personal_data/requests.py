"""Whether a message asks for payment data that is stored, or somebody else's. A rule on words, not a model.

Three things must come together in one sentence: a word for giving out or finding (*tell me*, *what is*, *look
up*), payment data (*card number*, *IBAN*, *coordonnées bancaires*), and whose it is: another person's (*of
customer Miller*, *her*), or a stored one (*on file*, *enregistré*). A question about paying (*where do I enter
my card number?*, *what is your IBAN?*) lacks one of them. English and French; who asks in other words, or in
another language, is not recognised, which is why the patterns on output exist.

The patterns below are read on lower-case text without accents, its words apart by single blanks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from sartor_plugins.personal_data.fold import fold

__all__ = ["Requests"]

_TITLES = re.compile(r"\b(mr|mrs|ms|dr|mme|mlle|m)\.")
_STOPS = re.compile(r"[.?!;:\n]")
_OTHERS = re.compile(r"[^\w'.]+")
_WORD = r"[\w']{1,40}"


def _any(*patterns: str) -> str:
    """One of the words of `patterns`: words are apart by blanks, and ``_`` stands for a blank within one."""
    return "(?:" + "|".join(word.replace("_", r"\x20") for pattern in patterns for word in pattern.split()) + ")"


# English

_CARD = _any("(?:(?:credit|debit|bank|payment)_)?card(?:'s)?")
_DATA_EN = _any(
    f"{_CARD}_(?:number|no|nr|num|detail|data|info|information|digit)s?",
    "(?:credit|debit|bank|payment)_cards?(?=_(?:of|for|from|on_file|you|do_you|did|that|which|is|was|belonging))",
    f"(?:stored|saved|registered)_{_CARD}s?",
    "(?:card|payment_method)s?(?=_(?:(?:do_)?you_(?:have_)?)?(?:is_|are_)?(?:on_file|saved|stored|keep))",
    f"(?:number|digit|detail)s?_(?:of|on|from)_(?:(?:the|his|her|their|a)_)?{_CARD}",
    "(?:cvv|cvc|cv2|pan|iban|bic)s?2?(?:_number|_code)?s? (?:card_)?security_codes?",
    "bank(?:ing)?_(?:account_)?(?:detail|data|info|information|account|account_number|number)s? account_numbers?",
    "payment_(?:detail|data|info|information|card)s?",
)
_PERSON_EN = (
    _any(
        "customer client user buyer guest member patient person people man woman guy neighbou?r wife husband friend",
        "boss colleague girlfriend boyfriend partner mother father brother sister son daughter employee",
        "someone somebody everyone everybody card_?holder account_holder payer sender order mr mrs ms miss dr",
    )
    + r"s?\b"
)
_THE_EN = _any("other another that this the a an all any every each your our my last previous new former") + r"\x20"
_COMPANY_EN = _any(
    "shop store company business bank firm insurer office team seller merchant branch (?:credit_|debit_)?card visa",
    "mastercard amex account form page web_?site site checkout transfer payment refund deposit donation {own}",
)
_OWNER_EN = _any(
    rf"(?:of|belonging_to)_(?!(?:{_THE_EN})*{_COMPANY_EN}s?\b|(?:you|yours|course|it|what|which|its|mine)\b){_WORD}",
    rf"(?:for|from|by)_(?:{_THE_EN})*{_PERSON_EN}",
    "(?:on|in)_(?:(?:your|the|our)_)?(?:file|record|memory|storage|system|database|crm|book|log|server)s?",
    r"(?:did|that|which)_(?:he|she|they)_(?:have|had|gave|use|used|saved|paid)",
    r"do_you_(?:currently_|still_)?(?:have|store|keep|hold|save)(?:_(?:saved|stored|on_file|for|of|from|about)\b|_*$)",
    r"(?:that_|which_)?you_(?:have|had|store|stored|keep|kept|saved|hold)\b(?!_(?:to|a|an)\b)",
    r"(?:that_|which_)?(?:was|is|were|are)_(?:saved|stored|charged)",
    "(?:he|she|they)_(?:paid|pays|used|uses)",
    "(?:used|saved|stored|charged|registered)_(?:for|on|in|with|to|by|under)_(?:(?:the|this|that|my|your)_)?"
    "(?:order|account|profile|file|system)s?",
)
_OWNED_EN = _any(
    "his her their another other other_people's all all_the all_of_the saved stored registered",
    rf"(?:{_THE_EN})*{_PERSON_EN}(?:_{_WORD})?",
    rf"(?!(?:what|that|it|who|where|how|there|here|let|today|{_COMPANY_EN})'?s?\b)[^\W\d]{{2,30}}'s?",
)
_SPEAK_EN = _any(
    "(?:give|tell|show|send|read|reveal|list|display|print|share|provide|disclose|repeat|dump|export|output|write|say"
    "|spell|recite|forward|mail|email|text|hand|pass|supply|leak)(?:_out|_off|_up|_over)?(?:_me|_us)?(?:_with|_out)?",
    "(?:get|fetch|find|look_?up|retrieve|pull|pull_up|search|extract|check|identify)(?:_out|_for)?(?:_me|_us)?",
    "(?:i|we)_(?:really_)?(?:need|want|require|am_looking_for|are_looking_for) (?:i|we)(?:_would|'d)_like",
    "(?:can|could|may|might)_(?:i|we)_(?:please_)?(?:have|get|see|know)",
    "(?:want|like|need|love)_to_(?:know|see|have|get)",
    "(?:do|can|could|did)_you_(?:know|have|see|remember|access)",
    "(?:what|which|whats)(?:_is|_are|_was|_were|'s|'re)? (?:what|how)_about",
)
_GAP_EN = (
    r"(?:(?!(?:to|into|with|using|via|by|on|how|where|when|why|if|whether|because|not|you|your|for|formats?|fees?"
    r"|costs?|meaning|length|example|difference|purpose|point|limit|benefits) )" + _WORD + " ){0,6}?"
)

# French

_DATA_FR = _any(
    "(?:numero|donnee|coordonnee|info|information|chiffre|detail)s?_(?:(?:de_)?(?:la_|sa_|leur_|ma_)?|d'une_|des_)cartes?"
    "(?:_bancaires?|_bleues?|_de_credit|_de_paiement)?(?!_(?:de_)?(?:fidelite|cadeau|membre))",
    "(?:carte|cb)s?_(?:bancaire|bleue|de_credit)s? ibans? ribs? cvv cvc cryptogrammes? codes?_de_securite",
    "(?:numero|coordonnee|donnee|information|info)s?_(?:bancaire|de_compte|de_paiement|du_compte|de_cb)s?(?:_bancaires?)?",
    "comptes?_bancaires?",
)
_PERSON_FR = (
    _any(
        "client cliente utilisateur utilisatrice acheteur acheteuse personne voisin voisine mari femme ami amie",
        "collegue patron mere pere frere soeur fils fille titulaire quelqu'un monsieur madame mme mr m mlle membre",
        "adherent commande assure patient gens",
    )
    + r"s?\b"
)
_THE_FR = r"(?:(?:autres?|le|la|les|un|une|mon|ma|cet|cette|ce|votre|notre|derniere?|tous|toutes)\x20|l')"
_COMPANY_FR = _any(
    "boutique magasin societe entreprise banque carte compte formulaire page site virement paiement remboursement",
    "agence association assureur visa mastercard commerce vendeur {own}",
)
_OWNER_FR = _any(
    rf"(?:de_|d')(?!(?:{_THE_FR})*{_COMPANY_FR}s?\b|(?:vous|la_part|quoi|plus|credit|paiement|securite|moi)\b){_WORD}",
    rf"(?:du|des|au_nom_de|pour|appartenant_a)_(?:{_THE_FR})*{_PERSON_FR}",
    r"(?:enregistre|sauvegarde|stocke|memorise|conserve)e?s?",
    "en_memoire au_dossier (?:dans|sur)_(?:le|la|votre|vos|son|ton|ta)_(?:dossier|systeme|base|fichier|serveur)s?",
    "(?:que|dont)_(?:vous_avez|tu_as|vous_disposez|vous_gardez|vous_conservez|tu_gardes|il_a|elle_a|j'ai_utilise)",
    "(?:avez_vous|as_tu|conservez_vous|gardez_vous)_(?:de|sur|pour|dans|en) (?:avez_vous|as_tu)$",
)
_OWNED_FR = _any("son sa ses leurs? tous_les toutes_les d'autres autres")
_SPEAK_FR = _any(
    "(?:donne|dis|dite|dites|montre|envoie|envoye|affiche|communique|liste|lis|revele|transmet|transmette|fournis|fournisse"
    "|indique|partage|repete|ecris|ecrive|exporte|trouve|cherche|recherche|recupere|sors)(?:z|r|s)?(?:_moi|_nous)?",
    "(?:me|nous)_(?:donner|dire|montrer|envoyer|communiquer|transmettre|fournir|indiquer|lire|reveler|trouver|sortir)",
    "(?:me|nous)_(?:donnez|donnes|dites|montrez|envoyez) afficher lister consulter retrouver connaitre obtenir avoir",
    "voir savoir recuperer (?:j'ai|nous_avons|on_a)_besoin (?:avez_vous|as_tu|connaissez_vous|connais_tu)",
    "(?:je|nous|on)_(?:veux|voulons|voudrais|voudrait|aimerais|souhaite|cherche)",
    "(?:quel|quelle|quels|quelles)(?:_est|_sont|_etait)? c'est_quoi qu'est_ce_que",
)
_GAP_FR = (
    r"(?:(?!(?:avec|sur|par|vers|comment|ou|quand|pourquoi|si|que|qui|pas|chez|modifier|changer|votre|vos|pour) )"
    + _WORD
    + " ){0,6}?"
)

# One's own: only where it is clearly the value that is wanted.

_MINE_EN = (
    _any("(?:tell|give|show|send|read|remind)_me (?:what|whats)(?:_is|_are|_was|'s)?")
    + "(?: the| again| of)* (?:number of |number on )?my (?:full |complete |saved |stored )?"
    + _any(
        f"{_CARD}_(?:number|detail|data)s? {_CARD}_security_code cvv cvc iban bank_details bank_account_number",
    )
    + r"\b(?!'| (?:used|needed|required|for))"
)
_MINE_FR = (
    _any(
        "(?:donne|dis|dite|dites|rappelle|montre|envoie|lis)(?:z|s)?_moi me_(?:donner|dire|rappeler|montrer|envoyer)",
        "quel(?:le)?s?_(?:est|sont|etait)",
    )
    + " (?:le |les )?"
    + _any("mon_iban mon_rib mes_coordonnees_bancaires mon_cryptogramme (?:mon_)?numero_de_(?:ma_)?(?:carte|cb)")
    + r"\b(?! doit)"
)

# Where it is the user who gives: `shall I give you the IBAN of my husband?`

_OFFER = re.compile(
    r"\b"
    + _any(
        "(?:shall|should|can|could|may|must|do|did|would)_(?:i|we)_(?:also_|really_|not_)?(?:give|tell|send|show|share|provide"
        "|read|write|forward|return|print|email|mail|text|pass|say)",
        "(?:give|giving|tell|send|sending)_(?:to_)?(?:you|u|them|him) (?:do|must|should)_(?:i|we)_(?:need|want|have)",
        "do_you_(?:need|want|require|accept)",
        "(?:do|does|will)_(?:you|it|they)_(?:share|send|show|give|pass|print|display)(?!_(?:me|us))",
        "(?:puis_je|dois_je|faut_il)_(?:vous_)?(?:donner|communiquer|envoyer|dire|transmettre|fournir|avoir)",
        "je_(?:peux|dois|vais|veux)_(?:vous_)?(?:donner|communiquer|envoyer|dire|transmettre|fournir)",
        "vous_(?:donner|communiquer|transmettre|fournir|envoyer) je_vous_(?:donne|communique|transmets|envoie)",
        "avez_vous_besoin",
    )
    + r"\b"
)


class Requests:
    """The rule, for one bot. `own` are the names of the company, whose own bank details may be asked for."""

    def __init__(self, own: Iterable[str] = ()) -> None:
        names = sorted({re.escape(word) for name in own for word in re.findall(r"\w{4,40}", _plain(name))[:50]})
        parts = (
            rf"{_SPEAK_EN} {_GAP_EN}{_DATA_EN} (?:{_WORD} ){{0,4}}?{_OWNER_EN}",
            rf"{_SPEAK_EN} {_GAP_EN}{_OWNED_EN} (?:(?!my ){_WORD} ){{0,2}}?{_DATA_EN}",
            rf"{_SPEAK_FR} {_GAP_FR}(?:[ld]')?{_DATA_FR} (?:{_WORD} ){{0,3}}?{_OWNER_FR}",
            rf"{_SPEAK_FR} {_GAP_FR}{_OWNED_FR} (?:{_WORD} ){{0,2}}?{_DATA_FR}",
            _MINE_EN,
            _MINE_FR,
        )
        self._patterns = tuple(re.compile(rf"\b{part.replace('{own}', '|'.join(names) or '(?!)')}\b") for part in parts)

    def asks(self, text: str) -> bool:
        """Whether a sentence of `text` asks for payment data that is stored or somebody else's."""
        return any(
            pattern.search(sentence)
            for sentence in map(str.strip, _plain(text).split("."))
            if not _OFFER.search(sentence)
            for pattern in self._patterns
        )


def _plain(text: str) -> str:
    """Lower case, no accents, single blanks; sentences end with a full stop, other marks are gone."""
    plain = fold(text).text.casefold().replace("’", "'")
    if not plain.isascii():
        decomposed = unicodedata.normalize("NFKD", plain)
        plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    plain = _STOPS.sub(" . ", _TITLES.sub(r"\1", plain))
    return _OTHERS.sub(" ", plain).strip()
