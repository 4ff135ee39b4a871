"""A page's form as a browser would send it."""

from html.parser import HTMLParser


class _Form(HTMLParser):
    def __init__(self, wanted):
        super().__init__()
        self.wanted, self.inside, self.fields, self.select, self.area = wanted, False, {}, None, None

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "form":
            self.inside = found.get("method", "").lower() == "post" and self.wanted in (found.get("id") or "")
        if not self.inside:
            return
        name, kind = found.get("name"), found.get("type", "text")
        if tag == "input" and name and kind in ("checkbox", "radio"):
            if "checked" in found:
                self.fields.setdefault(name, []).append(found.get("value") or "on")
        elif tag == "input" and name and kind not in ("submit", "file"):
            self.fields.setdefault(name, []).append(found.get("value") or "")
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in found:
            self.fields.setdefault(self.select, []).append(found.get("value") or "")
        elif tag == "textarea" and name:
            self.area = name
            self.fields[name] = [""]

    def handle_data(self, data):
        if self.area:
            self.fields[self.area][0] += data

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
        if tag == "select":
            self.select = None
        if tag == "textarea":
            self.area = None


def form_of(answer, wanted=""):
    """The fields of the page's form; ``wanted``: a part of its id, where it has several."""
    parser = _Form(wanted)
    parser.feed(answer.content.decode())
    return {
        name: values for name, values in parser.fields.items() if "__prefix__" not in name and name != "csrfmiddlewaretoken"
    }
