"""Templates, style and script of the contact sheet (`faces_page`)."""

from deepfusion.report import base_template

STYLE = (
    base_template.STYLE
    + """
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; display: inline; overflow-wrap: anywhere }
.about { color: var(--dim); margin: 0; padding-left: 1.1rem }
section.clip { border-top: 1px solid var(--line); padding: .7rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 170px; break-inside: avoid }
section.clip[hidden] { display: none }
.verdict { font-weight: 600; margin: 0 .6rem; font-variant-numeric: tabular-nums }
.strip { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 3px; margin: .4rem 0 3px; padding: 0;
  list-style: none }
.strip li { aspect-ratio: 1; display: flex; align-items: center; justify-content: center; overflow: hidden;
  border-radius: 3px; background: var(--panel) }
.strip img { width: 100%; height: 100%; object-fit: cover; display: block }
.strip li.lost { background: repeating-linear-gradient(45deg, var(--line) 0 4px, var(--panel) 4px 8px) }
.strip li.lost img { object-fit: contain }
.bar { display: block; width: 100%; height: 16px; background: var(--panel) }
.lost-list { margin: .2rem 0 0; font-size: .85rem; color: var(--dim) }
.swatch { display: inline-block; width: 1.4rem; height: .7rem; vertical-align: baseline }
.swatch svg { display: block; width: 100%; height: 100% }
input[type=number] { font: inherit; width: 5rem; padding: .3rem .5rem; border: 1px solid var(--edge);
  border-radius: 4px; background: var(--paper); color: inherit }
@media (max-width: 44rem) { .strip { grid-template-columns: repeat(6, minmax(0, 1fr)) } }
@media print { section.clip { content-visibility: visible } .bar, .strip li { print-color-adjust: exact;
  -webkit-print-color-adjust: exact } }
"""
)

SCRIPT = """
"use strict";
const clips = [...document.querySelectorAll("section.clip")];
const below = document.getElementById("below"), search = document.getElementById("search");
const filter = () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const most = below.value === "" ? Infinity : +below.value;
  let shown = 0;
  for (const clip of clips) {
    const text = clip.dataset.text.toLowerCase();
    clip.hidden = !(+clip.dataset.coverage < most && words.every((word) => text.includes(word)));
    shown += !clip.hidden;
  }
  document.getElementById("count").textContent = shown + " of " + clips.length + " clips";
};
for (const input of [below, search]) input.addEventListener("input", filter);
"""

PAGE = (
    base_template.head("Followed faces: {{ store }}")
    + """<body>
<h1>Followed faces</h1>
<ul class="about">
<li>{{ store }}: {{ clips }} clip{{ "s" if clips != 1 }}, {{ "{:,}".format(frames) }} frames,
{{ "%.1f" | format(share) }} % of them with the followed person's face</li>
{% if shown < clips %}
<li>This page shows {{ shown }} of the {{ clips }} clips{{ ", those of the lowest coverage" if not chosen }}.</li>
{% endif %}
{% if images %}
<li>Evenly spaced images of each clip: the followed face, or the whole frame with a hatched border where the person is
lost{{ "; blurred" if blur }}. The bar below marks the times with a face, on the clock of the media file.</li>
{% else %}
<li>Without images, as requested.</li>
{% endif %}
</ul>
{{ hatch }}
<ul class="legend">
{% for detector in legend.values() %}
<li><span class="swatch" style="background: {{ detector.colour }}"></span> found by {{ detector.name }}</li>
{% else %}
<li><span class="swatch" style="background: var(--series0)"></span> face</li>
{% endfor %}
<li><span class="swatch"><svg viewBox="0 0 22 11" aria-hidden="true"><rect class="gap" width="22" height="11"/></svg>
</span> lost</li>
</ul>
<div class="filter"><label for="below">Coverage below</label>
<input type="number" id="below" min="0" max="101" step="1" placeholder="all"> %
<input type="search" id="search" aria-label="Filter" placeholder="clip, speaker or reason">
<span id="count" role="status">{{ shown }} of {{ shown }} clips</span></div>
{% for section in sections %}
{{ section }}
{% endfor %}
<script>{{ script }}</script>
</body>
</html>
"""
)

SECTION = """
<section class="clip" id="{{ anchor }}" data-coverage="{{ '%.3f' | format(share) }}"
 data-text="{{ id }} {{ about | join(' ') }} {{ status }} {{ lost | map(attribute='reason') | join(' ') }}">
<h2>{{ id }}</h2><span class="verdict{{ ' none' if share < 50 }}">
{%- if frames %}{{ "%.1f" | format(share) }} %{% else %}no frames{% endif %}</span>
<span class="dim">{{ about | join(", ") }}{% if frames %}{{ ": " if about }}{{ faces }} of {{ frames }} frames
{%- for name, percent in shares %}{{ "; " if loop.first else ", " }}{{ name }} {{ "%.1f" | format(percent) }} %
{%- endfor %}{% endif %}</span>
{% if status %}<p class="none">{{ status }}</p>{% endif %}
{% if note %}<p class="dim">{{ note }}</p>{% endif %}
{% if tiles %}
<ul class="strip">
{% for tile in tiles %}
<li{% if not tile.found %} class="lost"{% endif %}><img src="{{ tile.image }}"
 title="{{ '%.2f' | format(tile.time) }} s"
 alt="{{ 'Face' if tile.found else 'Frame without the face' }} at {{ '%.2f' | format(tile.time) }} s"></li>
{% endfor %}
</ul>
{% endif %}
{% if runs or gaps %}
<svg class="bar" viewBox="0 0 {{ width }} 16" preserveAspectRatio="none" role="img"
 aria-label="Face in {{ '%.1f' | format(share) }} % of the frames">
{% for run in runs %}
<rect x="{{ run.x }}" width="{{ run.width }}" height="16" style="fill: {{ run.colour }}"><title>
{{- run.name }}</title></rect>
{% endfor %}
{% for gap in gaps %}
<rect class="gap" x="{{ gap.x }}" width="{{ gap.width }}" height="16"><title>
{{- gap.reason }}, {{ "%.2f" | format(gap.from) }} to {{ "%.2f" | format(gap.to) }} s</title></rect>
{% endfor %}
</svg>
<div class="axis" aria-hidden="true">{% for tick in ticks %}<span style="left: {{ tick.x }}%">{{ tick.text }}</span>
{%- endfor %}</div>
{% endif %}
{% for of in lost %}
<p class="lost-list">{{ of.reason }}: {{ "%.2f" | format(of.seconds) }} s in {{ of.times }}
{{ "stretches" if of.times > 1 else "stretch" }}
{%- if of.times > 1 %}, the longest{% endif %} from {{ "%.2f" | format(of.longest["from"]) }} to
{{ "%.2f" | format(of.longest["to"]) }} s</p>
{% endfor %}
</section>
"""
