// Looks at the pages of a box in use: its state and its panel.
//
//   node status.mjs BASE-URL OUTPUT-FOLDER
//
// The box has to be well, or become so within a minute. Exits 1 on the first failure.
import assert from "node:assert/strict";
import { visit } from "./browser.mjs";

const [base, folder] = process.argv.slice(2);
if (!base || !folder) {
  console.error("usage: node status.mjs BASE-URL OUTPUT-FOLDER");
  process.exit(2);
}

await visit({ base, folder, title: "a box in use" }, async (visitor, page) => {
  await page.goto(new URL("/board", base).href);
  await page.locator("[data-word]", { hasText: "READY" }).waitFor({ timeout: 60_000 });
  // The steady light.
  await page.locator("[data-bulb].lit").waitFor();
  await page.waitForTimeout(2500);
  assert.equal(await page.locator("[data-bulb].lit").count(), 1, "the light of a ready box blinks");
  await visitor.shot("board");

  await page.goto(base);
  await visitor.heading("All is well");
  await page.locator(".findings summary").first().click();
  await page.locator(".findings li li").first().waitFor();
  await visitor.shot("status");

  visitor.expected = "404";
  await page.goto(new URL("/nowhere", base).href);
  await visitor.heading("No such page");
  await visitor.shot("no-such-page");
});
