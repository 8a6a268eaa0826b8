// Walks the set-up in a real browser at the size of a phone, and looks at what a person would
// see: no console error, no request to another host, nothing wider than the screen.
//
//   node wizard.mjs BASE-URL CLAIM-CODE OUTPUT-FOLDER
//
// BASE-URL is a new box, such as http://127.0.0.1:8080. Screenshots go to OUTPUT-FOLDER.
// CHROMIUM names the browser; /usr/bin/chromium when it is not set. Exits 1 on the first failure.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, code, folder] = process.argv.slice(2);
if (!base || !code || !folder) {
  console.error("usage: node wizard.mjs BASE-URL CLAIM-CODE OUTPUT-FOLDER");
  process.exit(2);
}
const DOMAIN = process.env.DOMAIN ?? "vogelsang.example";
const PASSWORD = "four random words here";

await mkdir(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
let page;
let taken = 0;
try {
  const context = await browser.newContext({
    viewport: { width: 360, height: 740 },
    hasTouch: true,
    isMobile: true,
    timezoneId: "Europe/Berlin",
  });
  page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const errors = [];
  let expected = null;
  page.on("pageerror", (error) => errors.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !(expected && message.text().includes(expected))) {
      errors.push(`console: ${message.text()}`);
    }
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.origin !== new URL(base).origin) {
      errors.push(`asked another host: ${url.host}`);
    }
  });

  await page.goto(base);
  await shot("start");

  // A wrong code is said, and the right one opens the set-up. A refusal is an error to the console.
  expected = "403";
  await page.getByLabel("Code on the box").fill("0000-0000");
  await press("Begin");
  await page.getByText("That is not the code").waitFor();
  await shot("wrong-code");
  expected = null;
  await page.getByLabel("Code on the box").fill(code);
  await press("Begin");

  await heading("Which domain is yours?");
  assert.equal(await page.getByLabel("Time zone").inputValue(), "Europe/Berlin");
  expected = "422";
  await page.getByLabel("Your domain").fill(`alice@${DOMAIN}`);
  await press("Next");
  await page.getByText("write only what stands after the @").waitFor();
  await shot("domain-slip");
  expected = null;
  await page.getByLabel("Your domain").fill(DOMAIN);
  await shot("domain");
  await press("Next");

  await heading("Your account");
  await page.getByLabel("Your address").fill("alice");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password once more").fill(PASSWORD);
  await shot("account");
  await page.getByLabel("Show the passwords").check();
  assert.equal(await page.getByLabel("Password once more").getAttribute("type"), "text");
  await press("Create account");

  await heading("Sending");
  assert(!(await page.getByLabel("Port").isVisible()), "the relay's fields show too early");
  await page.getByLabel("Through a mail provider").check();
  await page.getByLabel("Outgoing mail server").waitFor();
  await shot("sending-relay");
  await page.getByLabel("By itself").check();
  await shot("sending");
  await press("Next");

  await heading("Tell the world");
  const records = await page.locator(".record").count();
  assert(records >= 4, `only ${records} records to publish`);
  assert(await page.getByText(`mail.${DOMAIN}`).first().isVisible());
  await page.locator("[data-copy]").first().click();
  await page.getByText("Copied").waitFor();
  await shot("records");
  await press("Check again");
  await heading("Tell the world");
  await page.getByText("Checked at").waitFor();
  await shot("checked");
  await press("Next");

  await heading("Your phone");
  await page.getByText(`alice@${DOMAIN}`).first().waitFor();
  await shot("phone");
  await press("Back");
  await heading("Tell the world");
  await press("Next");
  await heading("Your phone");
  await press("Finish");

  await page.getByText(`mail.${DOMAIN}`).first().waitFor();
  await shot("status");
  const closed = await page.goto(new URL("/setup", base).href);
  assert.equal(new URL(closed.url()).pathname, "/", "the set-up is still open");

  const panel = await page.request.get(new URL("/board", base).href);
  if (panel.ok()) {
    await page.goto(new URL("/board", base).href);
    await page.waitForTimeout(2500);
    await shot("board");
  }
  assert.deepEqual(errors, []);
  console.log(`the set-up works in a browser; ${taken} screenshots in ${folder}`);
} catch (error) {
  console.error(`the set-up failed in the browser: ${error.stack ?? error}`);
  if (page) await page.screenshot({ path: join(folder, "failure.png") }).catch(() => {});
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function heading(text) {
  await page.getByRole("heading", { level: 1, name: text }).waitFor();
  console.log(`- ${text}`);
}

async function press(name) {
  await page.getByRole("button", { name, exact: true }).click();
}

// Takes a picture, after making sure that nobody has to scroll sideways or aim with a needle.
async function shot(name) {
  const { wide, small, secret } = await page.evaluate((password) => ({
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    small: [...document.querySelectorAll("button, .button, .choice")]
      .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 40)
      .map((element) => element.textContent),
    secret: document.documentElement.outerHTML.includes(password),
  }), PASSWORD);
  assert(!wide, `${name}: wider than the screen`);
  assert.deepEqual(small, [], `${name}: too small for a thumb`);
  assert(!secret, `${name}: shows the password`);
  taken += 1;
  const file = `${String(taken).padStart(2, "0")}-${name}.png`;
  await page.screenshot({ path: join(folder, file), fullPage: true });
}
