"""Random values for the slots of facts, tools and small talk: prices, times, names, codes, places."""

from __future__ import annotations

import random
import re
from functools import cache

from faker import Faker

__all__ = ["fill", "slot", "vary"]

LISTS = {
    "en": {
        "product": "mountain bike|city bike|e-bike|kayak|tent|coffee machine|kettle|toaster|blender|washing machine|dishwasher|fridge|vacuum cleaner|"
        "hair dryer|desk lamp|office chair|standing desk|bookshelf|sofa|mattress|pillow|blanket|rain jacket|winter coat|running shoe|hiking boot|"
        "backpack|suitcase|wallet|handbag|watch|smartwatch|headphone|loudspeaker|microphone|webcam|monitor|keyboard|printer|scanner|router|laptop|"
        "tablet|phone case|charger|power bank|drone|camera|tripod|telescope|guitar|violin|piano|drum kit|chess set|puzzle|board game|doll|teddy bear|"
        "scooter|skateboard|surfboard|snowboard|sledge|helmet|lock|pump|lawn mower|drill|hammer|ladder|toolbox|heater|fan|air purifier|thermostat|"
        "smoke detector|doorbell|alarm clock|candle|vase|teapot|wok|frying pan|knife|cutting board|lunch box|water bottle|notebook|fountain pen|"
        "calendar|poster|carpet|curtain|towel|bathrobe|sunglasses|sun cream|shampoo|razor|toothbrush|yoga mat|dumbbell|treadmill|trampoline",
        "place": "shop|store|office|clinic|restaurant|library|museum|gym|pharmacy|hotel|workshop|practice|bakery|swimming pool|branch|café|garage|studio|reception|showroom|warehouse|salon|campsite|theatre",
        "landmark": "town hall|main station|old bridge|market square|post office|cathedral|city park|harbour|university|opera house|castle|school|fire station|cinema|stadium",
        "room": "dining room|winter garden|bar|lobby|cellar|terrace|lounge",
        "holiday": "Christmas Day|New Year's Day|Easter Monday|Sundays|public holidays|Labour Day|Thanksgiving|Good Friday|Mondays|Boxing Day|Independence Day|Saturdays",
        "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
        "days": "weekdays|Monday to Friday|Saturdays|Tuesday to Sunday|Mondays|weekends|Fridays|Monday to Saturday|Sundays|Thursdays|every day|Wednesday and Friday|working days",
        "month": "January|February|March|April|May|June|July|August|September|October|November|December",
        "carrier": "DHL|UPS|FedEx|DPD|GLS|Royal Mail|Parcelforce|Evri|PostNord|Colissimo|TNT|USPS",
        "country": "France|Germany|Spain|Italy|Portugal|Norway|Sweden|Poland|Austria|Switzerland|Belgium|Ireland|Canada|Japan|Brazil|Mexico|India|Australia|China|Greece|Turkey|Denmark|Finland|Iceland|Kenya|Egypt|Chile|Peru|Vietnam|Thailand|the Netherlands|the United States|South Korea|New Zealand|Croatia|Hungary",
        "colour": "red|blue|green|black|white|yellow|grey|brown|silver|orange|purple|pink|navy|beige|turquoise|gold|dark blue|olive",
        "material": "oak|steel|aluminium|cotton|wool|leather|recycled plastic|glass|bamboo|silk|carbon fibre|pine|linen|rubber|ceramic|titanium|copper|cork",
        "pay": "PayPal|Apple Pay|Google Pay|bank transfer|direct debit|invoice|Klarna|cash|cheque|Maestro|American Express|gift card|SEPA",
        "role": "director|managing director|head of sales|chief engineer|chef|head nurse|accountant|data protection officer|press officer|personnel manager|treasurer|president|librarian|caretaker|head teacher|receptionist|head of support|product manager|legal counsel|mechanic",
        "team": "sales|support|marketing|finance|legal|engineering|design|research|personnel|security|purchasing|logistics|quality|training",
        "language": "English|French|German|Spanish|Italian|Portuguese|Dutch|Polish|Turkish|Arabic|Chinese|Japanese|Russian|Greek|Swedish|Danish",
        "menu": "Settings, Account|the Account page|Profile, Security|Tools, Options|the File menu|Preferences, Data|the Help menu|the dashboard|Admin, Users|the link under the form|Settings, Privacy|the gear icon|the three dots|Billing, Overview|our website",
        "plan": "Basic|Pro|Team|Business|Starter|Premium|Enterprise|Family|Gold|Silver|Standard|Plus|Comfort|Free|Junior|Classic|Student",
        "risk": "fire|theft|water|storm|hail|glass breakage|flood|lightning|vandalism|burglary|accidents|lost luggage|earthquake|a burst pipe|dental treatment|cyber attacks|legal costs|a broken leg",
        "dish": "tomato soup|onion soup|grilled salmon|beef burger|mushroom risotto|vegetable curry|pasta with pesto|apple pie|chocolate cake|Caesar salad|fish and chips|lamb stew|lentil dal|pizza Margherita|pancakes|ice cream|cheese plate|goulash|ramen|fried rice|tofu bowl|lasagne",
        "allergen": "nuts|gluten|milk|eggs|soy|fish|celery|mustard|sesame|peanuts|lactose|shellfish|wheat|sulphites",
        "course": "pottery|first aid|cooking|Spanish|photography|yoga|accounting|programming|sewing|painting|swimming|chess|guitar|welding|statistics|bookkeeping|public speaking|gardening|French|driving",
        "event": "summer party|annual meeting|book fair|jazz concert|open day|Christmas market|film night|wine tasting|marathon|exhibition|food festival|science fair|lecture|workshop|flea market|job fair|art auction",
    },
    "fr": {
        "product": "vélo|vélo électrique|canoë|machine à café|bouilloire|grille-pain|lave-linge|lave-vaisselle|réfrigérateur|aspirateur|sèche-cheveux|fauteuil|bureau|canapé|matelas|oreiller|imperméable|manteau|sac à dos|portefeuille|réveil|casque audio|micro|écran|clavier|routeur|ordinateur|téléphone|chargeur|appareil photo|trépied|télescope|violon|piano|puzzle|skateboard|casque|cadenas|marteau|radiateur|ventilateur|thermostat|tapis|rideau|rasoir|parasol|barbecue|couteau|stylo",
        "place": "magasin|bureau|cabinet|restaurant|musée|club|hôtel|atelier|salon|garage|théâtre|camping|centre|guichet|café|laboratoire",
        "landmark": "hôtel de ville|pont|marché|musée|château|port|parc|stade|lycée|théâtre|palais",
        "holiday": "le 1er mai|le 14 juillet|le jour de Noël|le lundi|le dimanche|les jours fériés|le 1er janvier|le lundi de Pâques|le 15 août",
        "day": "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche",
        "days": "du lundi au vendredi|le samedi|du mardi au dimanche|tous les jours|le week-end|du lundi au samedi|les jours ouvrables|le mercredi|le dimanche",
        "month": "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
        "carrier": "Colissimo|Chronopost|DHL|UPS|Mondial Relay|La Poste|GLS|FedEx",
        "country": "Belgique|Suisse|Allemagne|Italie|Espagne|Autriche|Pologne|Suède|Norvège|Grèce|Irlande|Turquie|Tunisie|Croatie|Finlande|Chine|Inde",
        "colour": "rouge|bleu|vert|noir|blanc|jaune|gris|marron|argent|orange|violet|rose|beige|doré",
        "material": "chêne|acier|aluminium|coton|laine|cuir|plastique recyclé|verre|bambou|soie|lin|liège|titane",
        "pay": "PayPal|virement|chèque|espèces|carte bancaire|Apple Pay|prélèvement|mandat|chèque-vacances",
        "role": "directeur|directrice|chef de cuisine|comptable|responsable des ventes|responsable du personnel|trésorier|présidente|ingénieur en chef|gardien|bibliothécaire|mécanicien",
        "team": "ventes|support|finances|juridique|recherche|achats|logistique|qualité|sécurité|formation",
        "language": "anglais|français|allemand|espagnol|italien|portugais|arabe|chinois|russe|néerlandais",
        "menu": "Paramètres, Compte|la page Compte|Profil, Sécurité|Outils, Options|le menu Fichier|Préférences, Données|le tableau de bord|Paramètres, Confidentialité|notre site",
        "plan": "Base|Pro|Équipe|Premium|Famille|Entreprise|Standard|Confort|Gratuit|Étudiant|Classique|Plus",
        "risk": "l'incendie|le vol|la tempête|la grêle|le bris de glace|l'inondation|la foudre|le vandalisme|un dégât des eaux|les soins dentaires",
        "dish": "soupe à l'oignon|tarte aux pommes|saumon grillé|bœuf bourguignon|risotto aux champignons|salade niçoise|quiche lorraine|ratatouille|crêpe au sucre|gâteau au chocolat|steak frites|plateau de fromages",
        "allergen": "noix|gluten|lait|œufs|soja|poisson|céleri|moutarde|sésame|arachides|crustacés",
        "course": "poterie|premiers secours|cuisine|espagnol|photographie|yoga|comptabilité|programmation|couture|peinture|natation|guitare|jardinage|anglais",
        "event": "fête d'été|assemblée générale|salon du livre|concert de jazz|journée portes ouvertes|marché de Noël|soirée cinéma|dégustation de vin|exposition|conférence|brocante",
    },
}
WORDS = {lang: {k: v.split("|") for k, v in lists.items()} for lang, lists in LISTS.items()}


@cache
def faker(lang: str) -> Faker:
    return Faker({"en": ["en_GB", "en_US"], "fr": ["fr_FR"]}[lang])


def code(rng: random.Random) -> str:
    letters = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=rng.randint(1, 3)))
    digits = "".join(rng.choices("0123456789", k=rng.randint(2, 6)))
    return rng.choice(
        [
            f"{letters}-{digits}",
            letters + digits,
            f"{digits}-{letters}",
            f"#{digits}",
            digits,
            f"{letters}-{digits[:2]}-{digits[2:] or 7}",
        ]
    )


def price(rng: random.Random, lang: str) -> str:
    whole = rng.choice([rng.randint(1, 40), rng.randint(1, 400), rng.randint(10, 5000)])
    cents = rng.choice(["", "", f".{rng.randint(0, 99):02}", ".90", ".50"])
    if lang == "fr":
        return f"{whole}{cents.replace('.', ',')} {rng.choice(['euros', '€', 'EUR'])}"
    return rng.choice(
        [
            f"{whole}{cents} EUR",
            f"${whole}{cents}",
            f"£{whole}{cents}",
            f"{whole}{cents} euros",
            f"{whole}{cents} dollars",
            f"€{whole}{cents}",
            f"{whole}{cents} CHF",
        ]
    )


def time(rng: random.Random, lang: str, late: bool = False) -> str:
    hour, minute = rng.randint(13, 23) if late else rng.randint(5, 12), rng.choice([0, 0, 15, 30, 45])
    if lang == "fr":
        return f"{hour} h" + (f" {minute}" if minute else "")
    half = f"{(hour - 1) % 12 + 1}" + (f":{minute:02}" if minute else "")
    return rng.choice(
        [f"{hour}:{minute:02}", f"{half} {'p.m.' if hour > 11 else 'a.m.'}", f"{half}{'pm' if hour > 11 else 'am'}"]
    )


def date(rng: random.Random, lang: str) -> str:
    day, month, year = rng.randint(1, 28), rng.choice(WORDS[lang]["month"]), rng.randint(2023, 2029)
    if lang == "fr":
        return f"{day} {month}" + rng.choice(["", f" {year}"])
    return rng.choice(
        [
            f"{day} {month}",
            f"{month} {day}",
            f"{day} {month} {year}",
            f"{month} {day}, {year}",
            f"{year}-{rng.randint(1, 12):02}-{day:02}",
        ]
    )


def slot(name: str, rng: random.Random, lang: str) -> str:
    """A random value for the slot `name`; a digit at the end asks for another value of its kind."""
    kind = name.rstrip("0123456789")
    fake = faker(lang)
    if kind in WORDS[lang]:
        return rng.choice(WORDS[lang][kind])
    if kind == "n":
        return str(rng.choice([rng.randint(1, 12), rng.randint(2, 30), rng.randint(2, 100)]))
    if kind == "pct":
        return f"{rng.choice([rng.randint(1, 60), 5, 10, 15, 20, 25, round(rng.uniform(0.1, 9), 1)])}" + (
            " %" if lang == "fr" else rng.choice(["%", " %", " percent"])
        )
    if kind == "year":
        return str(rng.randint(1850, 2026))
    if kind == "time":
        return time(rng, lang, late=name != "time")
    simple = {"price": price, "date": date}
    if kind in simple:
        return simple[kind](rng, lang)
    if kind == "code":
        return code(rng)
    fake.seed_instance(rng.getrandbits(32))
    made = {
        "person": fake.name,
        "company": fake.company,
        "city": fake.city,
        "phone": fake.phone_number,
        "email": fake.company_email,
        "address": lambda: fake.address().replace("\n", ", "),
        "first": fake.first_name,
        "street": fake.street_address,
    }
    return made[kind]()


ONE = re.compile(r"\(([^()]*)\)")
SLOT = re.compile(r"\{(\w+)\}")


def vary(pattern: str, rng: random.Random) -> str:
    """Choose among the alternatives `(a|b|)`, innermost first."""
    while (found := ONE.search(pattern)) is not None:
        pattern = pattern[: found.start()] + rng.choice(found[1].split("|")) + pattern[found.end() :]
    return re.sub(r" {2,}", " ", pattern).strip()


def fill(text: str, values: dict[str, str], rng: random.Random, lang: str) -> str:
    """Fill the slots of `text`; values already in `values` stay the same."""
    for name in SLOT.findall(text):
        if name not in values:
            values[name] = slot(name, rng, lang)
    return SLOT.sub(lambda m: values[m[1]], text)
