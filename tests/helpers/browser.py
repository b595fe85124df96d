"""Runs a script on a page in headless Chromium, and what it found there."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

# Errors of scripts, files that do not load, refused requests, and what is written to the console as an error.
ERRORS = """<script>window.errors = [];
addEventListener("error", (event) => errors.push(event.message || "a file did not load"), true);
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
for (const level of ["error", "warn"]) console[level] = (...words) => errors.push(words.join(" "));</script>"""
RUN = """
<script>
addEventListener("load", () => setTimeout(() => {
  const found = { errors: window.errors, requests: performance.getEntriesByType("resource").map((of) => of.name)
    .filter((name) => !name.startsWith("data:")) };
  SCRIPT
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
}, 1500));
</script>
"""


def in_browser(page, script, *options, width=1200):
    """What a script finds on a page: `errors`, `requests` for other files, and what it puts into `found`.

    The page is kept as it is: a copy next to it has the script.
    """
    copy = page.with_name("scripted.html")
    text = page.read_text().replace("<style>", ERRORS + "<style>", 1)
    copy.write_text(text.replace("</body>", RUN.replace("SCRIPT", script) + "</body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", *options]
    command += ["--virtual-time-budget=6000", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]))
