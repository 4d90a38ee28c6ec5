package dev.caravan.data.doctor;

import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * The words of a text as hashes. Case, punctuation and white space do not count; an ideograph is a
 * word by itself. Words are letters, digits and marks, so that scripts with marks stay whole.
 */
final class Words {
  private static final long PRIME = 0x100000001b3L;
  private static final long BASIS = 0xcbf29ce484222325L;

  private Words() {}

  /** What an example says, without any template's words. */
  static String text(Example example) {
    if (example instanceof Example.Fields fields) {
      return fields.prompt() + "\n" + fields.target();
    }
    if (example instanceof Example.Chat chat) {
      return chat.messages().stream().map(Message::content).collect(Collectors.joining("\n"));
    }
    return ((Example.Text) example).text();
  }

  /** A hash of each word, in order. */
  static long[] hashes(String text) {
    long[] words = new long[16];
    int count = 0;
    long hash = 0;
    for (int at = 0; at < text.length(); ) {
      int point = Character.toLowerCase(text.codePointAt(at));
      at += Character.charCount(point);
      boolean alone = Character.isIdeographic(point);
      boolean inWord = !alone && isOfWord(point);
      if (!inWord && hash != 0) {
        words = room(words, count);
        words[count++] = hash;
        hash = 0;
      }
      if (alone) {
        words = room(words, count);
        words[count++] = step(BASIS, point);
      } else if (inWord) {
        hash = step(hash == 0 ? BASIS : hash, point);
      }
    }
    if (hash != 0) {
      words = room(words, count);
      words[count++] = hash;
    }
    return Arrays.copyOf(words, count);
  }

  private static boolean isOfWord(int point) {
    if (Character.isLetterOrDigit(point)) {
      return true;
    }
    int type = Character.getType(point);
    return type == Character.NON_SPACING_MARK || type == Character.COMBINING_SPACING_MARK;
  }

  /** A hash of {@code count} words from {@code from}. */
  static long hash(long[] words, int from, int count) {
    long hash = BASIS;
    for (int i = from; i < from + count; i++) {
      hash = mix(hash ^ words[i]) * PRIME;
    }
    return mix(hash);
  }

  private static long step(long hash, int point) {
    return (hash ^ point) * PRIME;
  }

  /** Finalizer of SplitMix64 (Steele et al. 2014): every bit depends on every bit. */
  private static long mix(long z) {
    long a = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    long b = (a ^ (a >>> 27)) * 0x94d049bb133111ebL;
    return b ^ (b >>> 31);
  }

  private static long[] room(long[] words, int count) {
    return count < words.length ? words : Arrays.copyOf(words, 2 * count);
  }
}
