package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;

/**
 * The rows of a Parquet file in their order, read by DuckDB as a stream, lists and structures as
 * JSON has them. What is called a line elsewhere is the number of the row, from 1.
 */
final class ParquetRecords implements Records {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path file;
  private final Connection connection;
  private final PreparedStatement query;
  private final ResultSet rows;
  private long line;
  private UserError failure;

  ParquetRecords(Path file) {
    this.file = file;
    if (!Files.isReadable(file)) {
      throw new UserError(file + ": cannot be read");
    }
    try {
      Properties settings = new Properties();
      settings.setProperty("jdbc_stream_results", "true");
      settings.setProperty("threads", "1");
      connection = DriverManager.getConnection("jdbc:duckdb:", settings);
    } catch (SQLException e) {
      throw new UserError(
          file + ": parquet needs DuckDB's driver (org.duckdb:duckdb_jdbc): " + first(e), e);
    }
    PreparedStatement made = null;
    try {
      made = connection.prepareStatement("SELECT to_json(r)::VARCHAR FROM read_parquet(?) r");
      made.setString(1, file.toString());
      rows = made.executeQuery();
    } catch (SQLException e) {
      close(made);
      close(connection);
      throw new UserError(file + ": not a Parquet file that can be read: " + first(e), e);
    }
    query = made;
  }

  @Override
  public ObjectNode next() {
    if (failure != null) {
      throw failure;
    }
    try {
      if (!rows.next()) {
        return null;
      }
      line++;
      return (ObjectNode) JSON.readTree(rows.getString(1));
    } catch (SQLException e) {
      // What is behind a row that DuckDB cannot read is lost: it stays the current one.
      line++;
      failure = error("cannot be read: " + first(e));
      throw failure;
    } catch (JsonProcessingException e) {
      throw error("has a value that JSON does not have: " + JsonErrors.describe(e));
    }
  }

  @Override
  public long line() {
    return line;
  }

  @Override
  public UserError error(String what) {
    return UserError.at(file, line, what);
  }

  @Override
  public void close() {
    close(rows);
    close(query);
    close(connection);
  }

  private static void close(AutoCloseable resource) {
    try {
      if (resource != null) {
        resource.close();
      }
    } catch (Exception e) {
      throw new IllegalStateException("DuckDB cannot close a query", e);
    }
  }

  private static String first(SQLException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("no reason given");
  }
}
