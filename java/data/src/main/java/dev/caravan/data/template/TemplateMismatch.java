package dev.caravan.data.template;

/**
 * An example that a template cannot put into words; the reader of the example adds file and line.
 */
public final class TemplateMismatch extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what the template lacks
   */
  public TemplateMismatch(String message) {
    super(message);
  }
}
