package dev.caravan.data.tokenize;

import ai.djl.sentencepiece.SpTokenizer;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheKey;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A SentencePiece {@code .model}, encoded by the SentencePiece library itself (unigram, BPE, byte
 * fallback, normalization tables). Text that spells a control token stays text, as in that library.
 * Decoding is done here, from the pieces, because the binding's own cannot carry every byte
 * sequence.
 *
 * <p>The library comes with DJL's last binding of it, 0.34.0, which later DJL versions still work
 * with. Translating the model into a tokenizer.json was the alternative; Hugging Face's engine
 * applies the normalization tables by grapheme, so its ids differ on some text.
 */
public final class SentencePieceTokenizer implements Tokenizer {
  private static final char SPACE = '\u2581';

  private final SentencePieceModel model;
  private final SpTokenizer atStart;
  private final SpTokenizer following;
  private final boolean addsBos;
  private final Optional<String> chatTemplate;

  private SentencePieceTokenizer(Path file) {
    model = SentencePieceModel.read(file);
    NativeLibraries.configure();
    try {
      atStart = new SpTokenizer(model.bytes());
      following =
          model.addDummyPrefix() ? new SpTokenizer(model.bytesWithoutDummyPrefix()) : atStart;
    } catch (RuntimeException | LinkageError e) {
      throw NativeLibraries.refusal(file, "SentencePiece model", e);
    }
    SpecialTokens special = SpecialTokens.of(file.toAbsolutePath().getParent());
    chatTemplate = special.chatTemplate();
    addsBos = model.bosId() != NONE && special.flag("add_bos_token").orElse(true);
  }

  /**
   * Opens a .model file.
   *
   * @throws UserError if it cannot be read or is not one
   */
  public static SentencePieceTokenizer open(Path file) {
    return new SentencePieceTokenizer(file);
  }

  @Override
  public int vocabSize() {
    return model.pieces().size();
  }

  @Override
  public int bosId() {
    return model.bosId();
  }

  @Override
  public int eosId() {
    return model.eosId();
  }

  @Override
  public int padId() {
    return model.padId();
  }

  /**
   * Unless tokenizer_config.json beside the model says otherwise, true where the model has a BOS
   * piece, as LLaMA's has.
   */
  @Override
  public boolean addsBos() {
    return addsBos;
  }

  @Override
  public Optional<String> chatTemplate() {
    return chatTemplate;
  }

  @Override
  public Optional<String> identity() {
    return Optional.of(
        "sentencepiece %s %s %s %s"
            .formatted(
                CacheKey.hex(model.bytes()),
                addsBos,
                NativeLibraries.version(SpTokenizer.class),
                chatTemplate.orElse("")));
  }

  @Override
  public OptionalInt id(String piece) {
    Integer id = model.id(piece);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public int[] encode(String text) {
    return atStart.getProcessor().encode(text);
  }

  /**
   * As {@link Tokenizer#encodeContinuation}. A model that removes extra spaces would lose one at
   * the start of {@code text}; the space that it puts before a text then stands for it.
   */
  @Override
  public int[] encodeContinuation(String text) {
    boolean spaceWouldGetLost = model.removeExtraWhitespaces() && text.startsWith(" ");
    return (spaceWouldGetLost ? atStart : following).getProcessor().encode(text);
  }

  @Override
  public String decode(int[] ids) {
    PieceDecoder text = new PieceDecoder();
    boolean atBeginning = model.addDummyPrefix() || model.removeExtraWhitespaces();
    for (int id : ids) {
      if (id < 0 || id >= vocabSize()) {
        throw new IllegalArgumentException("token id " + id + " of a vocabulary of " + vocabSize());
      }
      SentencePieceModel.Piece piece = model.pieces().get(id);
      switch (piece.type()) {
        case CONTROL -> {}
        case UNKNOWN -> {
          text.text(model.unknownSurface());
          atBeginning = false;
        }
        case BYTE -> {
          text.raw(PieceDecoder.byteValue(piece.text()));
          atBeginning = false;
        }
        default -> {
          String surface = piece.text();
          if (atBeginning && !surface.isEmpty() && surface.charAt(0) == SPACE) {
            surface = surface.substring(1);
            atBeginning = model.removeExtraWhitespaces() && surface.isEmpty();
          } else {
            atBeginning = false;
          }
          text.text(surface.replace(SPACE, ' '));
        }
      }
    }
    return text.toString();
  }

  @Override
  public void close() {
    if (following != atStart) {
      following.close();
    }
    atStart.close();
  }
}
