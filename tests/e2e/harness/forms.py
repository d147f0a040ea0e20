"""Parses the forms and links of a page as a browser does."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Button:
    """A submit button."""

    name: str | None
    value: str
    text: str = ""


@dataclass
class Form:
    """A form: its target, hidden fields, inputs and buttons."""

    action: str
    method: str
    id: str | None
    hidden: dict[str, str] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)
    password_field: str | None = None
    buttons: list[Button] = field(default_factory=list)

    def button(self, name: str, value: str | None = None) -> Button | None:
        """The first button of that name (and value)."""
        return next((b for b in self.buttons if b.name == name and value in (None, b.value)), None)


@dataclass
class Page:
    """The visible content of a document."""

    forms: list[Form]
    links: list[str]
    text: str


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page([], [], "")
        self._form: Form | None = None
        self._button: Button | None = None
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag in ("style", "script"):
            self._silent += 1
        elif tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower(), given.get("id"))
            self.page.forms.append(self._form)
        elif self._form is not None and tag == "input":
            self._read_input(self._form, given)
        elif tag == "button" and given.get("type", "submit") == "submit":
            self._read_button(given)

    def _read_button(self, given: dict[str, str]) -> None:
        """Adds the button to the enclosing form, or to the one in its `form` attribute."""
        owner = self._form
        if "form" in given:
            owner = next((form for form in self.page.forms if form.id == given["form"]), None)
        self._button = Button(given.get("name"), given.get("value", ""))
        if owner is not None:
            owner.buttons.append(self._button)

    @staticmethod
    def _read_input(form: Form, given: dict[str, str]) -> None:
        kind, name = given.get("type", "text").lower(), given.get("name")
        if kind == "submit":
            form.buttons.append(Button(name, given.get("value", ""), given.get("value", "")))
        elif name is None:
            return
        elif kind == "hidden":
            form.hidden[name] = given.get("value", "")
        elif kind == "password":
            form.password_field = name
        elif kind not in ("checkbox", "radio"):
            form.fields.add(name)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._silent = max(0, self._silent - 1)
        elif tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        self.page.text += data
        if self._button is not None:
            self._button.text += data


def read_page(html: str) -> Page:
    """Parses a document."""
    reader = _Reader()
    reader.feed(html)
    reader.page.text = " ".join(reader.page.text.split())
    return reader.page
