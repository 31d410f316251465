/** Tells the buttons of a run that something was done to it from elsewhere in the page. */
class Steered {
  changes = $state(0);
}

export const steered = new Steered();
