package dev.caravan.data.template;

/**
 * The words of an example.
 *
 * @param prompt what is given
 * @param target what is to be learnt
 */
public record Exchange(String prompt, String target) {}
