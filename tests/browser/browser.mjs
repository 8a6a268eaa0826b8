// A real browser that looks at what a person would see: no console error, no request to another
// host, nothing wider than the screen, nothing too small for a thumb, nothing that axe knows to be
// in the way of people who see or hear little, in daylight colours and in dark ones. Every picture
// is taken at the size of a phone and at that of a desktop.
//
// CHROMIUM names the browser; /usr/bin/chromium when it is not set.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1280, height: 800 };
// The smallest that is in use; no pictures are taken of it.
const SMALLEST = { width: 320, height: 568 };

// Opens a page, lets `walk` use it, and fails on whatever a person would stumble over. `secret`
// may never stand in a page.
export async function visit({ base, folder, title, secret }, walk) {
  await mkdir(folder, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--disable-background-networking", "--disable-component-update", "--no-first-run",
    ],
  });
  const visitor = new Visitor(folder, secret);
  try {
    const context = await browser.newContext({
      viewport: PHONE, hasTouch: true, isMobile: true, timezoneId: "Europe/Berlin",
      // The box's certificate is its own.
      ignoreHTTPSErrors: true,
    });
    visitor.follow(await context.newPage(), new URL(base).origin);
    await walk(visitor, visitor.page);
    assert.deepEqual(visitor.errors, []);
    console.log(`${title} works in a browser; ${visitor.taken} pictures in ${folder}`);
  } catch (error) {
    console.error(`${title} failed in the browser: ${error.stack ?? error}`);
    await visitor.page?.screenshot({ path: join(folder, "failure.png") }).catch(() => {});
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

class Visitor {
  errors = [];
  taken = 0;
  // A refusal is an error to the console: the status it has, while one is expected.
  expected = null;

  constructor(folder, secret) {
    this.folder = folder;
    this.secret = secret;
  }

  follow(page, origin) {
    this.page = page;
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => this.errors.push(`script: ${error.message}`));
    page.on("console", (message) => {
      const expected = this.expected && message.text().includes(this.expected);
      if (message.type() === "error" && !expected) {
        this.errors.push(`console: ${message.text()}`);
      }
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.origin !== origin) {
        this.errors.push(`asked another host: ${url.host}`);
      }
    });
  }

  async heading(text) {
    await this.page.getByRole("heading", { level: 1, name: text }).waitFor();
    console.log(`- ${text}`);
  }

  async press(name) {
    await this.page.getByRole("button", { name, exact: true }).click();
  }

  // Takes the pictures, after making sure that nobody has to scroll sideways or aim with a needle.
  async shot(name) {
    const sizes = [["small phone", SMALLEST], ["desktop", DESKTOP], ["phone", PHONE]];
    for (const [size, viewport] of sizes) {
      await this.page.setViewportSize(viewport);
      const { wide, small, shown } = await this.page.evaluate((secret) => ({
        wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        small: [...document.querySelectorAll("button, .button, .choice")]
          .filter((element) => element.checkVisibility())
          .filter((element) => element.getBoundingClientRect().height < 40)
          .map((element) => element.textContent),
        shown: Boolean(secret) && document.documentElement.outerHTML.includes(secret),
      }), this.secret);
      assert(!wide, `${name}: wider than the screen of a ${size}`);
      assert.deepEqual(small, [], `${name}: too small for a thumb`);
      assert(!shown, `${name}: shows the password`);
      if (viewport === SMALLEST) continue;
      await this.page.screenshot({ path: join(this.folder, `${size}-${name}.png`), fullPage: true });
      this.taken += 1;
    }
    await this.page.evaluate(AXE);
    for (const colorScheme of ["dark", "light"]) {
      await this.page.emulateMedia({ colorScheme });
      const found = await this.page.evaluate(async (values) => {
        // The state of the box loads itself anew on purpose; nothing is typed there.
        const rules = { "meta-refresh": { enabled: false } };
        const run = await axe.run(document, { runOnly: { type: "tag", values }, rules });
        return run.violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html)}`);
      }, RULES);
      assert.deepEqual(found, [], `${name}, ${colorScheme}: not accessible`);
    }
  }
}
