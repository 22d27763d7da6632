"""Tools, messages that want one, their calls, and results to be told in words."""

from __future__ import annotations

import json
import random
import re

from training.slots import fill, slot, vary
from training.tools_told import Pattern, patterns, put

__all__ = ["Tool", "make_call", "make_drill", "make_tools", "result_turn"]

TOLD = 0.7  # how many of the tools are such as people write
VERBS = {
    "en": "get look_up find check track cancel create book reserve order list show update change search send request report compute convert open renew confirm schedule register add remove estimate compare print pay block".split(),
    "fr": "get find check track cancel book order update search send reserve list".split(),
}
SAY = {
    "get": "get|show me|give me|I need|what is|tell me",
    "look_up": "look up|what is|find|show me",
    "find": "find|look for|where is|search",
    "check": "check|is|what is|please check",
    "track": "track|where is|follow|trace",
    "cancel": "cancel|please cancel|I want to cancel|drop",
    "create": "create|make|open|set up",
    "book": "book|I'd like to book|reserve|can I book",
    "reserve": "reserve|book|keep|I want to reserve",
    "order": "order|buy|I'd like|get me",
    "list": "list|show|which are|what are",
    "show": "show|display|what is|let me see",
    "update": "update|change|correct|set",
    "change": "change|modify|move|update",
    "search": "search|find|look for",
    "send": "send|mail|forward",
    "request": "request|ask for|I need|apply for",
    "report": "report|I want to report|tell you about",
    "compute": "compute|calculate|work out|how much is",
    "convert": "convert|change|turn",
    "open": "open|start|create",
    "renew": "renew|extend|prolong",
    "confirm": "confirm|please confirm|accept",
    "schedule": "schedule|plan|arrange|set up",
    "register": "register|sign up|enrol|add",
    "add": "add|put|include",
    "remove": "remove|delete|take away",
    "estimate": "estimate|how much is|guess",
    "compare": "compare|what is the difference between",
    "print": "print|print out",
    "pay": "pay|settle",
    "block": "block|stop|freeze",
}
SAY_FR = {
    "get": "donne-moi|je veux|quel est",
    "find": "trouve|cherche|où est",
    "check": "vérifie|pouvez-vous vérifier|je voudrais savoir",
    "track": "où en est|suivre|je veux suivre",
    "cancel": "annule|je veux annuler|merci d'annuler",
    "book": "réserve|je voudrais réserver",
    "order": "commande|je voudrais commander",
    "update": "modifie|changer|mets à jour",
    "search": "cherche|recherche",
    "send": "envoie|envoyez",
    "reserve": "réserve|je voudrais réserver",
    "list": "liste|montre-moi",
}
NOUNS = {
    "en": """order order_status booking appointment table room flight train ticket invoice refund payment parcel shipment delivery package account balance transfer card loan policy claim contract subscription product price stock
availability weather forecast temperature exchange_rate address contact user customer employee profile password report meeting event calendar reminder task project document file note message email call room_key menu recipe dish course lesson exam
grade book article page translation route distance taxi car rental repair warranty return coupon voucher discount points membership seat timetable schedule salary leave vacation sick_day expense permit licence tax vaccine prescription doctor patient test_result visit visitor parking_space
station branch opening_hours holiday quote sample catalogue complaint issue bug release server backup sensor meter reading contract_date job application candidate""".split(),
    "fr": "commande réservation rendez_vous table chambre vol billet facture colis livraison compte solde contrat abonnement produit prix stock météo adresse client dossier cours livre trajet voiture réparation garantie congé".split(),
}
PARAMS = {  # name: kind of value, ways to say it before the value
    "order_id": ("code", "|order|number|order number"),
    "id": ("code", "|number|with the id|no."),
    "number": ("code", "|number|no.|with number"),
    "reference": ("code", "|reference|with reference"),
    "booking_id": ("code", "|booking|number"),
    "invoice_id": ("code", "|invoice|number"),
    "customer_id": ("code", "customer|for customer|client"),
    "tracking_number": ("code", "|number|tracking number|with the tracking number"),
    "ticket_id": ("code", "|ticket|number"),
    "code": ("code", "|code|with code"),
    "account": ("code", "account|from account"),
    "name": ("person", "for|in the name of|named|under the name"),
    "customer": ("person", "for|of|customer"),
    "person": ("person", "for|with|of"),
    "employee": ("person", "of|for|employee"),
    "doctor": ("person", "with|with doctor|at"),
    "recipient": ("person", "to|for"),
    "city": ("city", "in|for|to|at"),
    "place": ("city", "in|near|at|for"),
    "destination": ("city", "to|going to"),
    "origin": ("city", "from|leaving from"),
    "from": ("city", "from"),
    "to": ("city", "to"),
    "location": ("city", "in|at|near"),
    "date": ("date", "on|for|for the|from"),
    "day": ("day", "on|next|this|for"),
    "start": ("date", "from|starting|beginning"),
    "end": ("date", "to|until|till"),
    "time": ("time", "at|for|around"),
    "people": ("count", "for*people|for*persons|for*|*people"),
    "guests": ("count", "for*guests|with*guests"),
    "quantity": ("count", "*pieces|*units|*times"),
    "nights": ("count", "for*nights|*nights"),
    "amount": ("count", "*euros|of*|*dollars"),
    "days": ("count", "for*days|*days"),
    "product": ("product", "the|a|for the|of the"),
    "item": ("product", "the|a|of the"),
    "email": ("email", "to|at|with|for"),
    "phone": ("phone", "on|at|with the number"),
    "country": ("country", "to|in|for"),
    "language": ("language", "in|into|to"),
    "colour": ("colour", "in|colour"),
    "plan": ("plan", "the|to the|for the"),
    "query": ("topic", "about|for|on"),
    "topic": ("topic", "about|on"),
    "course": ("course", "for the|the"),
    "dish": ("dish", "the|a|with"),
    "team": ("team", "in|for|of the team"),
    "year": ("year", "in|for|of"),
    "month": ("month", "in|for|of"),
}
PARAMS_FR = {
    "numéro": ("code", "|numéro|n°"),
    "référence": ("code", "|référence"),
    "order_id": ("code", "|numéro|commande"),
    "id": ("code", "|numéro"),
    "nom": ("person", "au nom de|pour|de"),
    "client": ("person", "pour|de"),
    "ville": ("city", "à|pour|de"),
    "destination": ("city", "pour|vers|à"),
    "date": ("date", "le|pour le|au"),
    "jour": ("day", "pour|ce|le"),
    "heure": ("time", "à|vers"),
    "personnes": ("count", "pour*personnes|*personnes"),
    "quantité": ("count", "*unités|*pièces"),
    "produit": ("product", "le|du|un"),
    "email": ("email", "à|au"),
    "pays": ("country", "en|pour|vers"),
    "mois": ("month", "en|pour|de"),
    "people": ("count", "pour*personnes"),
    "city": ("city", "à|pour"),
}
FREE = {  # names of parameters and results that may hold anything
    "en": "ticket model size kind type category title author subject reason status department currency unit format brand gate level grade group class section area region zone street building floor owner sender vehicle plate engine part serial version device printer channel page shelf isbn patient ward policy case file key word text note comment priority budget limit rate fee method provider supplier material shape weight length width height age gender season genre artist song film team player match league score species breed plant tree crop field farm machine tool route line stop platform seat cabin deck bed view meal diet drink flavour".split(),
    "fr": "modèle taille type catégorie titre auteur sujet motif statut service devise unité format marque niveau groupe classe zone rue étage véhicule plaque pièce version appareil page dossier mot texte note priorité budget tarif mode fournisseur matière poids longueur âge saison artiste film équipe espèce plante machine ligne arrêt siège repas régime".split(),
}
THINGS = {
    "en": "small|large|medium|red|blue|folding|leather|annual|monthly|urgent|normal|vegan|single|double|economy|business|old|new|open|broken window|late arrival|city tour|night shift|north wing|ground floor|spring sale|jazz|history|poetry|football|tennis|oak|birch|tomato|wheat|diesel|electric|hybrid|left|right|king size|window|aisle|quiet|sea view|full board|half board|gold|silver|standard|express|regular|ready|in progress|waiting for approval|sent back|on the way|out for repair|sold out|free|occupied|invited|accepted|first class",
    "fr": "petit|grand|moyen|rouge|bleu|pliant|annuel|mensuel|urgent|normal|simple|double|neuf|ancien|ouvert|fenêtre cassée|visite guidée|aile nord|rez-de-chaussée|jazz|histoire|poésie|tennis|chêne|tomate|diesel|électrique|gauche|droite|calme|vue sur mer|pension complète|or|standard|express|prêt|en cours|en route|complet|libre|occupé",
}
TOPIC_WORDS = "red shoes|cheap hotels|solar panels|data protection|summer sale|electric cars|lost luggage|new releases|late payment|garden chairs|gift ideas|return labels|jazz music|vegan recipes|local history|remote work|tax rules|first aid".split(
    "|"
)
DESCRIBE = {
    "en": "(Look up|Get|Find|Return|Show) (a|the) {noun}( by its {param}| with the {param}| for a {param}|).|{Verb} (a|an|the) {noun}( by {param}| of a customer| for the user|).|{Verb} {noun}s.|(Use this to|Call this to) {verb} (a|the) {noun}.|{Verb} the {noun}(, given the {param}|).",
    "fr": "(Cherche|Donne|Renvoie) (le|la|une) {noun}( par {param}|).|{Verb} {noun}.|Pour {verb} (une|la|le) {noun}( avec {param}|).",
}
POLITE = {
    "en": "(please |can you |could you |I'd like to |hi, |hello, |||||){m}( please|, please|, thanks||||)",
    "fr": "(s'il vous plaît, |bonjour, |pouvez-vous |||){m}( s'il vous plaît|, merci||)",
}


class Tool:
    """A tool and how a message asks for it."""

    __slots__ = ("description", "free", "name", "noun", "params", "pattern", "verb")

    def __init__(self, rng: random.Random, lang: str) -> None:
        self.pattern: Pattern | None = None
        if rng.random() < TOLD:
            self._tell(rng.choice(patterns(lang)), rng)
            return
        self.verb, self.noun = rng.choice(VERBS[lang]), rng.choice(NOUNS[lang])
        pool = PARAMS if lang == "en" else PARAMS_FR
        kinds: dict[str, str] = {}
        for name in rng.sample(sorted(pool), rng.choice([1, 1, 1, 2, 2, 3])):
            kinds.setdefault(pool[name][0], name)
        self.params = list(kinds.values())
        self.free = {}  # names that say nothing of their values
        for i in range(len(self.params)):
            if rng.random() < 0.45:
                self.params[i] = rng.choice(FREE[lang])
                self.free[self.params[i]] = (
                    rng.choice(["code", "thing", "thing", "code", "date", "person", "product", "count", "city"]),
                    rng.choice(
                        ["", "", self.params[i], "for", "with", "in"]
                        if lang == "en"
                        else ["", "", self.params[i], "pour", "avec"]
                    ),
                )
        self.params = list(dict.fromkeys(self.params))
        self.name = rng.choice(
            [
                f"{self.verb}_{self.noun}",
                f"{self.verb}_{self.noun}",
                f"{self.noun}_{self.verb}" if rng.random() < 0.2 else self.noun,
            ]
        )
        noun = self.noun.replace("_", " ")
        text = vary(rng.choice(DESCRIBE[lang].split(".|")), rng).rstrip(".") + "."
        verb = self.verb.replace("_", " ")
        self.description = fill(
            text,
            {"noun": noun, "verb": verb, "Verb": verb.capitalize(), "param": self.params[0].replace("_", " ")},
            rng,
            lang,
        )

    def _tell(self, pattern: Pattern, rng: random.Random) -> None:
        """Be a tool as people write them, under one of its names."""
        self.pattern = pattern
        self.name = rng.choice(pattern.names)
        self.noun = re.split(r"_", self.name)[-1]
        self.description = vary(rng.choice(pattern.descriptions), rng)
        self.free = {}
        for names, kind in pattern.params.values():
            left = [n for n in names if n not in self.free]
            self.free[names[0] if rng.random() < 0.4 and names[0] in left else rng.choice(left)] = (kind, "")
        self.params = list(self.free)

    def as_openai(self) -> dict:
        properties = {p: {"type": "string"} for p in self.params}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": properties},
            },
        }


def make_tools(rng: random.Random, lang: str) -> list[Tool]:
    tools: dict[str, Tool] = {}
    for _ in range(rng.choice([1, 2, 2, 3, 4])):
        tool = Tool(rng, lang)
        tools.setdefault(tool.name, tool)
    return list(tools.values())


def value(kind: str, rng: random.Random, lang: str) -> str | int:
    if kind[0] == "=":
        return rng.choice(kind[1:].split(","))
    if kind == "count":
        return rng.choice([rng.randint(1, 12), rng.randint(1, 99), rng.randint(1, 2000)])
    if kind == "thing":
        return rng.choice(THINGS[lang].split("|"))
    if kind == "topic":
        return rng.choice(TOPIC_WORDS)
    return slot(kind, rng, lang)


def make_call(tool: Tool, rng: random.Random, lang: str) -> tuple[str, dict]:
    """A message that wants the tool, and the call: every argument is copied from the message."""
    if tool.pattern:
        arguments = {name: value(kind, rng, lang) for name, (kind, _) in tool.free.items()}
        shown = dict(zip(tool.pattern.params, map(str, arguments.values()), strict=True))
        return put(rng.choice(tool.pattern.messages), shown, rng, lang), arguments
    pool = PARAMS if lang == "en" else PARAMS_FR
    arguments, parts = {}, []
    for name in tool.params:
        kind, ways = tool.free.get(name) or pool[name]
        arguments[name] = value(kind, rng, lang)
        way = rng.choice(ways.split("|"))
        shown = str(arguments[name])
        parts.append(way.replace("*", f" {shown} ").strip() if "*" in way else f"{way} {shown}".strip())
    order = list(parts)
    if rng.random() < 0.3:
        rng.shuffle(order)
    said = rng.choice((SAY if lang == "en" else SAY_FR)[tool.verb].split("|"))
    article = (
        rng.choice(["a ", "the ", "my ", "", "the "]) if lang == "en" else rng.choice(["une ", "la ", "le ", "ma ", ""])
    )
    noun = tool.noun.replace("_", " ")
    message = f"{said} {article}{noun} {' '.join(order)}"
    if rng.random() < 0.12:
        message = f"{noun} {' '.join(order)}"
    message = vary(rng.choice([POLITE[lang]]), rng).replace("{m}", message)
    if rng.random() < 0.5:
        message = message[0].upper() + message[1:]
    if rng.random() < 0.3:
        message += rng.choice([".", "?", "!"])
    return " ".join(message.split()), arguments


KEYS = {
    "en": """status:shipped,in transit,delivered,open,closed,paid,cancelled,confirmed,pending,refused,ready,on hold|total:$price|price:$price|balance:$price|amount:$price|date:$date|delivery_date:$date|due_date:$date|arrival:$date|time:$time|start_time:$time|carrier:$carrier|city:$city|address:$address|name:$person|customer:$person|contact:$email|phone:$phone|reference:$code|booking_number:$code|room:$n|seat:$code|table:$n|people:$n|quantity:$n|stock:$n|points:$n|temperature:$n|days_left:$n|product:$product|colour:$colour|available:true,false|confirmed:true,false|paid:true,false|delayed:true,false|country:$country|language:$language|course:$course|weather:sunny,rainy,cloudy,windy,foggy,snow|plan:$plan""",
    "fr": """statut:expédié,livré,ouvert,fermé,payé,annulé,confirmé,en attente|total:$price|prix:$price|solde:$price|date:$date|heure:$time|transporteur:$carrier|ville:$city|nom:$person|contact:$email|référence:$code|chambre:$n|quantité:$n|produit:$product|disponible:true,false|pays:$country|temps:ensoleillé,pluvieux,nuageux""",
}
ERRORS = {
    "en": "no {noun} {code} found|{noun} {code} does not exist|the {noun} service is not available|no {noun} on {date}|unknown {noun} {code}|timeout after {n} seconds|you may not see {noun} {code}|{noun} {code} was already cancelled|no free {noun} for {n} people|the date {date} is in the past",
    "fr": "aucune {noun} {code}|{noun} {code} introuvable|le service n'est pas disponible|délai dépassé après {n} secondes|la date {date} est passée",
}


def found_entry(entry: str) -> str:
    """An entry of a told tool in the form of `KEYS`: `name:$kind` or `name:value,value`."""
    return entry.replace("=", ":", 1) if "=" in entry else entry.replace(":", ":$", 1)


def result_turn(tool: Tool, arguments: dict, rng: random.Random, lang: str) -> tuple[str, str]:
    """The content of a tool message, and the sentence that tells it."""
    way = rng.random()
    if way < 0.15:
        text = fill(rng.choice(ERRORS[lang].split("|")), {"noun": tool.noun.replace("_", " ")}, rng, lang)
        sorry = {"en": "Sorry, that did not work: ", "fr": "Désolé, cela n'a pas marché : "}[lang]
        return f"Error: {text}", f"{sorry}{text}."
    pairs: dict[str, str | int | bool] = {}
    if rng.random() < 0.4:
        pairs = {k: v for k, v in list(arguments.items())[:1]}
    entries = KEYS[lang].split("|")
    if tool.pattern and rng.random() < 0.7:
        entries = [found_entry(e) for e in tool.pattern.results]
    for entry in rng.sample(entries, min(len(entries), rng.choice([1, 2, 2, 3, 3, 4]))):
        key, kinds = entry.split(":", 1)
        if rng.random() < (0.1 if tool.pattern else 0.35):
            key, kinds = (
                rng.choice(FREE[lang]),
                "$" + rng.choice(["thing", "thing", "date", "time", "price", "code", "n", "city", "person"]),
            )
        shown = str(value(kinds[1:], rng, lang)) if kinds[0] == "$" else rng.choice(kinds.split(","))
        pairs[key] = {"true": True, "false": False}.get(
            shown, int(shown) if shown.isdigit() and kinds != "$code" else shown
        )
    if way < 0.3:  # a tool that answers in words: they are told as they are
        text = told(pairs, lang)
        return text, text
    if way < 0.4:
        listed = [
            value(rng.choice(["time", "date", "city", "product", "code"]), rng, lang) for _ in range(rng.randint(1, 4))
        ]
        names = {"en": ["Found: ", "There is no result."], "fr": ["Trouvé : ", "Il n'y a pas de résultat."]}[lang]
        if rng.random() < 0.15:
            return "[]", names[1]
        return compact(listed, rng), names[0] + ", ".join(map(str, listed)) + "."
    return compact(pairs, rng), told(pairs, lang)


DRILLED = "thing thing code code code n date time price person city email phone product address company topic".split()


def make_drill(rng: random.Random, lang: str) -> tuple[str, str]:
    """Named values and the order in which they are wanted; the same values in that order."""
    names = [k.split(":")[0] for k in KEYS[lang].split("|")] + FREE[lang]
    pairs = {name: str(value(rng.choice(DRILLED), rng, lang)) for name in rng.sample(names, rng.randint(3, 7))}
    wanted = rng.sample(sorted(pairs), len(pairs))
    given = compact(pairs, rng)
    way = rng.random()
    if way < 0.3:
        given = "\n".join(f"{k.replace('_', ' ')}: {v}" for k, v in pairs.items())
    elif way < 0.5:
        given = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in pairs.items())
    content = f"{given}\n{', '.join(wanted)}"
    if rng.random() < 0.5:
        return content, told({k: pairs[k] for k in wanted}, lang)
    call = json.dumps({"name": rng.choice(names), "arguments": {k: pairs[k] for k in wanted}}, ensure_ascii=False)
    return f"{content}\n{json.loads(call)['name']}", f"<tool_call>{call}</tool_call>"


def compact(value: object, rng: random.Random) -> str:
    return json.dumps(value, ensure_ascii=False, separators=rng.choice([(",", ":"), (", ", ": ")]))


def told(pairs: dict, lang: str) -> str:
    """`The status is shipped and the carrier is DHL.`; in French `Statut : expédié, ville : Lyon.`"""
    yes = {"en": {True: "yes", False: "no"}, "fr": {True: "oui", False: "non"}}[lang]
    shown = [(k.replace("_", " "), yes[v] if isinstance(v, bool) else str(v)) for k, v in pairs.items()]
    if lang == "fr":
        text = ", ".join(f"{k} : {v}" for k, v in shown)
    else:
        parts = [f"the {k} is {v}" for k, v in shown]
        text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return text[0].upper() + text[1:] + "."
